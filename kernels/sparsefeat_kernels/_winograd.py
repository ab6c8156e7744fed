"""The compiled Winograd convolution: vector operations in LLVM, loops in Python.

A tile of 6x6 input elements gives 4x4 output elements. Vectors run along channels. The input of
some tiles is transformed and laid out as 36 matrices (tiles, input channels), one for each
position in a tile; each is multiplied by a matrix of weights (input channels, output channels);
then the products are transformed back.

Each output element is a sum over input channels, and the order of summation depends only on their
number. The result is therefore the same, bit for bit, however the work is divided among threads.

Addresses are not checked here; `sparsefeat_kernels.winograd` checks the arrays. Everything that
affects the compiled code is in this one file, because numba's cache is invalidated only when this
file changes.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, wraps
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import intrinsic, ir, kernel, types

TILE = 4  # rows and columns of a tile's output
TAPS = 3  # rows and columns of a kernel
EXTENT = TILE + TAPS - 1  # rows and columns of a tile's input
POSITIONS = EXTENT * EXTENT
DEPTH = 128  # input channels that are summed up in registers; a row of transformed input
PADDING = 16  # elements between the 36 matrices, so that their rows don't share cache sets

_FLOAT_BYTES = 4
_LINE_BYTES = 64
_PADDING_BYTES = PADDING * _FLOAT_BYTES
_ROW_BYTES = DEPTH * _FLOAT_BYTES
_ADDRESS_BYTES = 8
_PREFETCHED_BYTES = 4096  # how far ahead weights are prefetched; more made no difference

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)

Matrix = tuple[tuple[Fraction, ...], ...]


class CookToom(NamedTuple):
    """Matrices for which ``output @ ((weights @ w) * (input @ x))`` is the correlation of x and w.

    With n = len(points) + 1 elements of x: `input` is (n, n), `weights` (n, TAPS) and `output`
    (n - TAPS + 1, n).
    """

    input: Matrix
    weights: Matrix
    output: Matrix


def cook_toom(points: Sequence[Fraction]) -> CookToom:
    """Compute the matrices for distinct interpolation points and the point at infinity.

    Examples
    --------
    >>> cook_toom((Fraction(0), Fraction(1), Fraction(-1))).output
    ((Fraction(1, 1), Fraction(1, 1), Fraction(1, 1), Fraction(0, 1)), \
(Fraction(0, 1), Fraction(1, 1), Fraction(-1, 1), Fraction(1, 1)))
    """
    n_inputs = len(points) + 1
    n_outputs = n_inputs - TAPS + 1
    inputs, weights = [], []
    for point in points:
        others = [other for other in points if other != point]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        inputs.append((*_polynomial(others), Fraction(0)))
        weights.append(tuple(point**power / scale for power in range(TAPS)))
    inputs.append(_polynomial(points))
    weights.append(tuple(Fraction(power == TAPS - 1) for power in range(TAPS)))
    outputs = [
        (*(point**power for point in points), Fraction(power == n_outputs - 1))
        for power in range(n_outputs)
    ]
    return CookToom(tuple(inputs), tuple(weights), tuple(outputs))


def _polynomial(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Return the coefficients, constant first, of the monic polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [-root * coefficient for coefficient in coefficients] + [Fraction(0)]
        coefficients = [one + two for one, two in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)


# These interpolation points had the smallest rounding error of those tried: 1.6e-6 over a whole
# network, compared with 2.9e-6 for the usual 0, 1, -1, 2, -2.
_MATRICES = cook_toom([Fraction(numerator, 4) for numerator in (0, 3, -3, 6, -6)])
WEIGHT_MATRIX = np.array(_MATRICES.weights, np.float64)

Vector = Any  # an LLVM value; llvmlite ships no types
Address = Any


class Variant(NamedTuple):
    """How the innermost product uses the processor's vector registers.

    It keeps the sums of `rows[0]` tiles x `n_vectors` vectors in registers, besides one row of
    weights and one element of input: 31 of 32 registers with AVX-512, 15 of 16 with AVX2, 29 of 32
    with NEON.

    Attributes
    ----------
    lanes
        Number of float32 elements in a vector.
    n_vectors
        Number of vectors of output channels.
    rows
        Numbers of tiles for which there is compiled code, largest first.
    blocks
        Number of tiles that are transformed together, for up to 64, up to 256, and more channels.
        Except for the last, they and their products fit in the second-level cache.
    """

    lanes: int
    n_vectors: int
    rows: tuple[int, int, int, int]
    blocks: tuple[int, int, int]

    @property
    def panel(self) -> int:
        """Number of output channels whose weights are stored together."""
        return self.lanes * self.n_vectors


VARIANTS = {
    "avx512": Variant(16, 2, (14, 12, 10, 8), (14, 28, 56)),
    "avx2": Variant(8, 2, (6, 5, 4, 3), (12, 24, 48)),
    "neon": Variant(4, 4, (6, 5, 4, 3), (12, 24, 48)),
}


class _Emitter:
    """Emits LLVM operations on float32 vectors; addresses are integers."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder = builder
        self.bytes = lanes * _FLOAT_BYTES
        self._lanes = lanes
        self._type = ir.VectorType(_FLOAT, lanes)
        self._fma = builder.module.declare_intrinsic(
            f"llvm.fma.v{lanes}f32", fnty=ir.FunctionType(self._type, [self._type] * 3)
        )

    def constant(self, value: float) -> Vector:
        return ir.Constant(self._type, [float(np.float32(value))] * self._lanes)

    def at(self, address: Address, offset: int) -> Address:
        return self.builder.add(address, _INT64(offset)) if offset else address

    def load(self, address: Address) -> Vector:
        return self._load(address, self._type, _FLOAT_BYTES)

    def load_address(self, address: Address) -> Address:
        return self._load(address, _INT64, _ADDRESS_BYTES)

    def load_repeated(self, address: Address) -> Vector:
        return self.repeat(self._load(address, _FLOAT, _FLOAT_BYTES))

    def _load(self, address: Address, kind: Any, alignment: int) -> Any:
        pointer = self.builder.inttoptr(address, kind.as_pointer())
        return self.builder.load(pointer, align=alignment)

    def store(self, vector: Vector, address: Address) -> None:
        pointer = self.builder.inttoptr(address, self._type.as_pointer())
        self.builder.store(vector, pointer, align=_FLOAT_BYTES)

    def prefetch(self, address: Address) -> None:
        """Prefetch a cache line to read; an invalid address is ignored."""
        byte = ir.IntType(8).as_pointer()
        function = self.builder.module.declare_intrinsic(
            "llvm.prefetch.p0i8",
            fnty=ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32]),
        )
        to_read, nearest, of_data = _INT32(0), _INT32(3), _INT32(1)
        pointer = self.builder.inttoptr(address, byte)
        self.builder.call(function, [pointer, to_read, nearest, of_data])

    def repeat(self, value: Any) -> Vector:
        """Copy a scalar to all lanes."""
        anything = ir.Constant(self._type, ir.Undefined)
        first = self.builder.insert_element(anything, value, _INT32(0))
        lanes = ir.Constant(ir.VectorType(_INT32, self._lanes), [0] * self._lanes)
        return self.builder.shuffle_vector(first, anything, lanes)

    def fma(self, one: Vector, two: Vector, addend: Vector) -> Vector:
        return self.builder.call(self._fma, [one, two, addend])

    def add(self, one: Vector, two: Vector) -> Vector:
        return self.builder.fadd(one, two)

    def subtract(self, one: Vector, two: Vector) -> Vector:
        return self.builder.fsub(one, two)

    def raise_to(self, bound: Vector, value: Vector) -> Vector:
        """Return the maximum of a value and a bound that is not NaN; a NaN value stays NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", value, bound), bound, value)

    def maximum(self, one: Vector, two: Vector) -> Vector:
        """Return the maximum; NaN if either is NaN."""
        larger = self.builder.select(self.builder.fcmp_ordered(">", one, two), one, two)
        return self.builder.select(self.builder.fcmp_unordered("uno", one, one), one, larger)

    def combine(self, factors: Sequence[Any], vectors: Sequence[Vector]) -> Vector:
        """Sum ``factor * vector``, from the last to the first, without multiplying by 0 or 1."""
        total = None
        for factor, vector in reversed(list(zip(factors, vectors, strict=True))):
            if factor == 0:
                continue
            if total is None:
                total = vector if factor == 1 else self.builder.fmul(self.constant(factor), vector)
            elif factor == 1:
                total = self.add(vector, total)
            else:
                total = self.fma(self.constant(factor), vector, total)
        return total

    def loop(
        self, count: Any, initial: Sequence[Vector] = ()
    ) -> tuple[Any, list[Vector], Callable[[Sequence[Vector]], None]]:
        """Begin a loop that runs at least once.

        It returns the loop's index, its variables, and a function that ends the loop with the
        variables' next values.
        """
        builder = self.builder
        before = builder.block
        body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.branch(body)
        builder.position_at_end(body)
        index = builder.phi(_INT64)
        index.add_incoming(_INT64(0), before)
        variables = [builder.phi(value.type) for value in initial]
        for variable, value in zip(variables, initial, strict=True):
            variable.add_incoming(value, before)

        def close(values: Sequence[Vector]) -> None:
            following = builder.add(index, _INT64(1))
            index.add_incoming(following, builder.block)
            for variable, value in zip(variables, values, strict=True):
                variable.add_incoming(value, builder.block)
            builder.cbranch(builder.icmp_signed("<", following, count), body, after)
            builder.position_at_end(after)

        return index, variables, close


def _emit_multiply(
    builder: Any,
    lanes: int,
    n_vectors: int,
    n_rows: int,
    inputs: Address,
    weights: Address,
    depth: Any,
    products: Address,
    stride: Any,
    is_first: Any,
) -> None:
    """Emit products (n_rows, columns) = inputs (n_rows, depth) @ weights (depth, columns).

    Unless `is_first`, the result is added to `products`. A row of inputs has _ROW_BYTES bytes, a
    row of products has `stride` bytes.
    """
    emit = _Emitter(builder, lanes)
    columns = range(n_vectors)
    cells = [(row, column) for row in range(n_rows) for column in columns]
    index, sums, close = emit.loop(depth, [emit.constant(0)] * len(cells))
    inputs = builder.add(inputs, builder.mul(index, _INT64(_FLOAT_BYTES)))
    weights = builder.add(weights, builder.mul(index, _INT64(n_vectors * emit.bytes)))
    factors = [emit.load(emit.at(weights, column * emit.bytes)) for column in columns]
    for line in range(0, n_vectors * emit.bytes, _LINE_BYTES):
        emit.prefetch(emit.at(weights, _PREFETCHED_BYTES + line))
    totals = []
    for row in range(n_rows):
        element = emit.load_repeated(emit.at(inputs, row * _ROW_BYTES))
        totals += [emit.fma(element, factors[c], sums[row * n_vectors + c]) for c in columns]
    close(totals)
    rows = [builder.add(products, builder.mul(stride, _INT64(row))) for row in range(n_rows)]
    targets = [emit.at(rows[row], column * emit.bytes) for row, column in cells]
    with builder.if_else(builder.icmp_signed("!=", is_first, _INT64(0))) as (first, later):
        with first:
            for total, target in zip(totals, targets, strict=True):
                emit.store(total, target)
        with later:
            for total, target in zip(totals, targets, strict=True):
                emit.store(emit.add(total, emit.load(target)), target)


def _transformed(emit: _Emitter, vectors: Sequence[Vector]) -> list[Vector]:
    """Multiply by the input matrix; rows 1, 2 and 3, 4 belong to p and -p and share terms."""
    matrix = _MATRICES.input
    results = [emit.combine(matrix[0], vectors)]
    for row in (1, 3):
        even = emit.combine(matrix[row][0::2], vectors[0::2])
        odd = emit.combine(matrix[row][1::2], vectors[1::2])
        results += [emit.add(even, odd), emit.subtract(even, odd)]
    return [*results, emit.combine(matrix[5], vectors)]


def _restored(emit: _Emitter, vectors: Sequence[Vector]) -> list[Vector]:
    """Multiply by the output matrix; columns 1, 2 and 3, 4 belong to points p and -p."""
    first, one, minus_one, two, minus_two, last = vectors
    pairs = (
        (emit.add(one, minus_one), emit.add(two, minus_two)),
        (emit.subtract(one, minus_one), emit.subtract(two, minus_two)),
    )
    return [
        emit.combine((row[0], row[1], row[3], row[5]), (first, *pairs[power % 2], last))
        for power, row in enumerate(_MATRICES.output)
    ]


def _emit_transform_input(
    builder: Any,
    lanes: int,
    sources: Address,
    n_vectors: Any,
    ahead: Any,
    target: Address,
    stride: Any,
) -> None:
    """Emit the input transform of one tile; `sources` lists the addresses of its 36 elements.

    The elements of the next tile are `ahead` bytes further on; transformed elements are `stride`
    bytes apart.
    """
    emit = _Emitter(builder, lanes)
    extent = range(EXTENT)
    elements = [
        [emit.load_address(emit.at(sources, (row * EXTENT + column) * 8)) for column in extent]
        for row in extent
    ]
    index, _, close = emit.loop(n_vectors)
    offset = builder.mul(index, _INT64(emit.bytes))
    next_offset = builder.add(offset, ahead)
    for row in extent:
        for column in range(2, EXTENT):  # the first two are this tile's last two
            emit.prefetch(builder.add(elements[row][column], next_offset))
    columns = [
        _transformed(
            emit, [emit.load(builder.add(elements[row][column], offset)) for row in extent]
        )
        for column in extent
    ]
    target = builder.add(target, offset)
    for row in extent:
        vectors = _transformed(emit, [columns[column][row] for column in extent])
        for column, vector in enumerate(vectors):
            position = _INT64(row * EXTENT + column)
            emit.store(vector, builder.add(target, builder.mul(stride, position)))
    close([])


def _emit_transform_output(
    builder: Any,
    lanes: int,
    wants_full: int,
    wants_pooled: int,
    products: Address,
    stride: Any,
    n_vectors: Any,
    bias: Address,
    least: Any,
    targets: Address,
) -> None:
    """Emit the output transform of a tile, add the bias, and raise values below `least` to it.

    `targets` lists the addresses of the 16 output elements and of the 4 maxima of 2x2 of them.
    """
    emit = _Emitter(builder, lanes)
    n_elements = TILE * TILE
    used = [*range(n_elements * wants_full), *range(n_elements, n_elements + 4 * wants_pooled)]
    addresses = {index: emit.load_address(emit.at(targets, index * 8)) for index in used}
    bound = emit.repeat(least)
    index, _, close = emit.loop(n_vectors)
    offset = builder.mul(index, _INT64(emit.bytes))
    source = builder.add(products, offset)
    columns = []
    for column in range(EXTENT):
        positions = [_INT64(row * EXTENT + column) for row in range(EXTENT)]
        column_vectors = [
            emit.load(builder.add(source, builder.mul(stride, position))) for position in positions
        ]
        columns.append(_restored(emit, column_vectors))
    addend = emit.load(builder.add(bias, offset))
    elements = [
        emit.raise_to(bound, emit.add(vector, addend))
        for row in range(TILE)
        for vector in _restored(emit, [column[row] for column in columns])
    ]
    if wants_full:
        for element, vector in enumerate(elements):
            emit.store(vector, builder.add(addresses[element], offset))
    if wants_pooled:
        for window, first in enumerate((0, 2, 2 * TILE, 2 * TILE + 2)):
            below = first + TILE
            upper = emit.maximum(elements[first], elements[first + 1])
            lower = emit.maximum(elements[below], elements[below + 1])
            address = builder.add(addresses[n_elements + window], offset)
            emit.store(emit.maximum(upper, lower), address)
    close([])


def _vector_code(emit: Callable[..., None], n_literals: int) -> Callable[..., None]:
    """Make a function for kernels of one that emits its code.

    Its arguments are those of `emit` after the builder; the first `n_literals` of them are
    compile-time constants.
    """

    @wraps(emit)  # numba reads the names of the arguments
    def type_call(context: Any, *arguments: Any) -> tuple[Any, Callable[..., Any]] | None:
        literals, rest = arguments[:n_literals], arguments[n_literals:]
        if not all(isinstance(each, types.IntegerLiteral) for each in literals):
            return None  # numba then tries again with literal types

        def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
            numbers = [each.literal_value for each in literals]
            emit(builder, *numbers, *values[n_literals:])
            return context.get_dummy_value()

        kinds = [each if isinstance(each, types.Float) else types.int64 for each in rest]
        return types.void(*literals, *kinds), generate

    return cast(Callable[..., None], intrinsic(prefer_literal=True)(type_call))


multiply = _vector_code(_emit_multiply, 3)
transform_input = _vector_code(_emit_transform_input, 1)
transform_output = _vector_code(_emit_transform_output, 3)


@kernel
def list_sources(
    pointers: npt.NDArray[np.int64],
    x: int,
    height: int,
    width: int,
    n_in: int,
    image: int,
    top: int,
    left: int,
    zeros: int,
) -> None:
    """Write the addresses of a tile's 36 elements; outside of the image they point to zeros."""
    for row in range(EXTENT):
        y = top + row - 1
        for column in range(EXTENT):
            z = left + column - 1
            is_inside = y >= 0 and y < height and z >= 0 and z < width
            element = x + ((image * height + y) * width + z) * n_in * _FLOAT_BYTES
            pointers[row * EXTENT + column] = element if is_inside else zeros


@kernel
def list_targets(
    pointers: npt.NDArray[np.int64],
    extent: int,
    y: int,
    height: int,
    width: int,
    n_out: int,
    image: int,
    top: int,
    left: int,
    discarded: int,
) -> None:
    """Write the addresses of a tile's results; outside of the image they point to `discarded`."""
    for row in range(extent):
        for column in range(extent):
            is_inside = top + row < height and left + column < width
            element = ((image * height + top + row) * width + left + column) * n_out
            pointers[row * extent + column] = y + element * _FLOAT_BYTES if is_inside else discarded


@kernel
def transform_weights(
    kernel: npt.NDArray[np.float32],
    matrix: npt.NDArray[np.float64],
    panel: int,
    transformed: npt.NDArray[np.float32],
) -> None:
    """Transform weights (n_out, n_in, 3, 3) in double precision into the layout of `multiply`.

    The layout is (36, blocks of DEPTH input channels, panels of output channels, channels of the
    block, channels of the panel), flat. Output channels from `n_out` on are not written.
    """
    n_out, n_in = kernel.shape[:2]
    n_padded = (n_out + panel - 1) // panel * panel
    half = np.empty((EXTENT, TAPS))
    for block in range(0, n_in, DEPTH):
        depth = min(DEPTH, n_in - block)
        for channel in range(n_out):
            first = channel // panel * panel
            for k in range(depth):
                taps = kernel[channel, block + k]
                for row in range(EXTENT):
                    for column in range(TAPS):
                        half[row, column] = (
                            matrix[row, 0] * taps[0, column]
                            + matrix[row, 1] * taps[1, column]
                            + matrix[row, 2] * taps[2, column]
                        )
                index = block * n_padded + first * depth + k * panel + channel - first
                for row in range(EXTENT):
                    for column in range(EXTENT):
                        transformed[index + (row * EXTENT + column) * n_in * n_padded] = (
                            matrix[column, 0] * half[row, 0]
                            + matrix[column, 1] * half[row, 1]
                            + matrix[column, 2] * half[row, 2]
                        )


@cache
def convolution(variant: Variant) -> Callable[..., None]:
    """Return the compiled convolution of a variant."""
    lanes, n_vectors, panel = variant.lanes, variant.n_vectors, variant.panel
    rows_0, rows_1, rows_2, rows_3 = variant.rows

    @kernel
    def convolve(
        x: int,
        full: int,
        pooled: int,
        weights: int,
        bias: int,
        least: np.float32,
        height: int,
        width: int,
        n_in: int,
        n_out: int,
        first_tile: int,
        last_tile: int,
        first_channel: int,
        last_channel: int,
        block_tiles: int,
        inputs: int,
        products: int,
        zeros: int,
        discarded: int,
        pointers: npt.NDArray[np.int64],
    ) -> None:
        """Convolve tiles `first_tile` to `last_tile` into some output channels.

        All arguments except sizes are addresses. Elements are written to `full` and the maxima of
        2x2 elements to `pooled`; one of them may be 0. `inputs` and `products` are scratch memory
        for `block_tiles` tiles plus those that `multiply` rounds up to.
        """
        n_down, n_across = (height + TILE - 1) // TILE, (width + TILE - 1) // TILE
        n_padded = (n_out + panel - 1) // panel * panel
        n_channels = last_channel - first_channel
        channel_bytes = first_channel * _FLOAT_BYTES
        last_real = min(last_channel, n_out)
        n_out_vectors = (last_real - first_channel) // lanes
        product_bytes = n_channels * _FLOAT_BYTES
        room = block_tiles + rows_0
        block_bytes = room * _ROW_BYTES
        input_stride = (n_in + DEPTH - 1) // DEPTH * block_bytes + _PADDING_BYTES
        product_stride = room * product_bytes + _PADDING_BYTES
        listed = pointers.ctypes.data
        for start in range(first_tile, last_tile, block_tiles):
            count = min(block_tiles, last_tile - start)
            for tile in range(count):
                number = start + tile
                image, within = number // (n_down * n_across), number % (n_down * n_across)
                top, left = within // n_across * TILE, within % n_across * TILE
                list_sources(pointers, x, height, width, n_in, image, top, left, zeros)
                target = inputs + tile * _ROW_BYTES
                ahead = TILE * n_in * _FLOAT_BYTES
                for channel in range(0, n_in, DEPTH):
                    n = min(DEPTH, n_in - channel) // lanes
                    transform_input(lanes, listed, n, ahead, target, input_stride)
                    target += block_bytes
                    for index in range(POSITIONS):
                        pointers[index] += _ROW_BYTES
            # Choose the code that rounds the number of tiles up the least.
            n_rows = rows_0
            for other in (rows_1, rows_2, rows_3):
                if (count + other - 1) // other * other < (count + n_rows - 1) // n_rows * n_rows:
                    n_rows = other
            n_groups = (count + n_rows - 1) // n_rows
            for position in range(POSITIONS):
                for channel in range(0, n_in, DEPTH):
                    depth = min(DEPTH, n_in - channel)
                    is_first = 1 if channel == 0 else 0
                    a = inputs + position * input_stride + channel // DEPTH * block_bytes
                    b = weights + _FLOAT_BYTES * (
                        (position * n_in + channel) * n_padded + first_channel * depth
                    )
                    c = products + position * product_stride
                    for _ in range(0, n_channels, panel):
                        for group in range(n_groups):
                            a_rows = a + group * n_rows * _ROW_BYTES
                            c_rows = c + group * n_rows * product_bytes
                            if n_rows == rows_0:
                                multiply(
                                    lanes, n_vectors, rows_0,
                                    a_rows, b, depth, c_rows, product_bytes, is_first,
                                )  # fmt: skip
                            elif n_rows == rows_1:
                                multiply(
                                    lanes, n_vectors, rows_1,
                                    a_rows, b, depth, c_rows, product_bytes, is_first,
                                )  # fmt: skip
                            elif n_rows == rows_2:
                                multiply(
                                    lanes, n_vectors, rows_2,
                                    a_rows, b, depth, c_rows, product_bytes, is_first,
                                )  # fmt: skip
                            else:
                                multiply(
                                    lanes, n_vectors, rows_3,
                                    a_rows, b, depth, c_rows, product_bytes, is_first,
                                )  # fmt: skip
                        b += depth * panel * _FLOAT_BYTES
                        c += panel * _FLOAT_BYTES
            for tile in range(count):
                number = start + tile
                image, within = number // (n_down * n_across), number % (n_down * n_across)
                top, left = within // n_across * TILE, within % n_across * TILE
                m = products + tile * product_bytes
                if full:
                    list_targets(
                        pointers, TILE, full + channel_bytes, height, width, n_out,
                        image, top, left, discarded,
                    )  # fmt: skip
                if pooled:
                    list_targets(
                        pointers[TILE * TILE :], TILE // 2, pooled + channel_bytes,
                        height // 2, width // 2, n_out, image, top // 2, left // 2, discarded,
                    )  # fmt: skip
                b = bias + channel_bytes
                if full and pooled:
                    transform_output(
                        lanes, 1, 1, m, product_stride, n_out_vectors, b, least, listed
                    )
                elif full:
                    transform_output(
                        lanes, 1, 0, m, product_stride, n_out_vectors, b, least, listed
                    )
                else:
                    transform_output(
                        lanes, 0, 1, m, product_stride, n_out_vectors, b, least, listed
                    )

    return convolve
