"""Images in, activations out: the library's main object."""

import logging
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, replace
from typing import Any, Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsefeat.errors import InputError, SourceError
from sparsefeat.images import (
    Decoded,
    ImageInput,
    Preset,
    Reason,
    Scaling,
    decode,
    each_image,
)
from sparsefeat.model import (
    Metadata,
    Pool,
    Size,
    check_size,
    choose,
    output_layer,
)
from sparsefeat.pipeline.batching import Group, groups
from sparsefeat.pipeline.inference import BUFFERS, Inference, choose_batch_size, empty_outputs
from sparsefeat.pipeline.options import ExtractorOptions, taking
from sparsefeat.pipeline.profile import Stopwatch
from sparsefeat.pipeline.scaling import ScalingWarning, check_scaling
from sparsefeat.pipeline.specification import Specification
from sparsefeat.runtime import Network, Precision, can_prove_fixed, prove
from sparsefeat.system import check_choice, choose_threads, map_ordered, one_line
from sparsefeat.types import (
    Batch,
    ChannelScales,
    Layer,
    Reject,
    RejectWarning,
    Skipped,
    reject_message,
)
from sparsefeat_kernels import Csr, CsrBuffers, encode

Float32 = NDArray[np.float32]
T = TypeVar("T")
Load = Callable[[], ImageInput | Skipped]
Errors = Literal["warn", "raise", "ignore"]
ERRORS: tuple[str, ...] = get_args(Errors)
_log = logging.getLogger(__name__)
MAX_OTHERS = 2  # extractors of other layers


class Extractor:
    """Extracts VGG16 activations with ONNX Runtime.

    Only the part of the network that the chosen layers need is loaded and run.

    Parameters
    ----------
    model
        A file that ``sparsefeat export`` made.
    layers, pool, size, ...
        As `ExtractorOptions` takes them, which says what they mean.

    Raises
    ------
    ModelError
        `model` isn't there, isn't one of sparsefeat's, or is damaged.
    LayerError
        It has no such layer.
    ProviderError
        The provider can't be had, or doesn't run all of the graph.
    PrecisionError
        The precision can't be had, or what is computed isn't what the exporter measured.
    InputError
        Another option has a value that it can't have.

    Examples
    --------
    >>> import sparsefeat
    >>> extractor = sparsefeat.Extractor("vgg16.onnx", layers="block4_pool,block5_pool")
    >>> for batch in extractor.extract(["cat.jpg", "dog.jpg"]):
    ...     print(batch.layers["block5_pool"].n_rows, batch.layers["block5_pool"].n_columns)
    2 25088
    """

    @taking(ExtractorOptions)
    def __init__(self, model: str | os.PathLike[str], *layers: Any, **options: Any) -> None:
        given = ExtractorOptions(*layers, **options)
        self._specification = Specification.of(model, given)
        self._others: dict[tuple[tuple[str, ...], Pool], Extractor] = {}
        self._threads = choose_threads(given.threads)
        self._decode_threads = given.decode_threads or self._threads
        self._warned: set[str] = set()

        self._file, self._size = self._specification.file, self._specification.size
        self._preset = self._specification.preset
        self._names, precision = self._specification.names, self._specification.precision
        # A graph is fixed to a size only where the fixed one can still be probed.
        fixed = self._size
        if fixed is not None and not can_prove_fixed(self._file, fixed, given.pool):
            fixed = None
        self._network = Network(
            self._file,
            self._names,
            pool=given.pool,
            size=fixed,
            convolution=given.convolution,
            provider=given.provider,
            precision=precision,
            threads=self._threads,
            options=given.provider_options,  # type: ignore[arg-type]  # no mapping any more
        )
        self._batch_size = given.batch_size or choose_batch_size(
            list(self.layers.values()),
            self._network.provider,
            largest=self._largest(self.image_size),
        )
        self._probe_error = prove(
            self._run,
            self._file,
            provider=self._network.provider,
            precision=precision,
            pool=given.pool,
            size=fixed,
        )

        _log.info(
            "%s: %s in %s, convolution %s, %d threads, batches of %d, error on the probe %.1e",
            *(self._file.path, self.provider, precision, self.convolution),
            *(self._threads, self._batch_size, self._probe_error),
        )

    @classmethod
    def of(cls, model: str | os.PathLike[str], options: ExtractorOptions) -> Self:
        """Make one with options that are there already."""
        return cls(model, **vars(options))

    def __repr__(self) -> str:
        return f"Extractor.of({str(self._file.path)!r}, {self.options})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Give what makes a copy, here or in another process: it loads the network again."""
        return Extractor.of, (str(self._file.path), self.options)

    def __call__(self, images: Float32) -> dict[str, Float32]:
        """Run preprocessed images through the network: see `run`."""
        return self.run(images)

    @property
    def options(self) -> ExtractorOptions:
        """What this was made with."""
        return self._specification.options

    @property
    def specification(self) -> Specification:
        """What it computes, as it was known before the network was loaded."""
        return self._specification

    @property
    def layers(self) -> dict[str, Layer]:
        """The chosen outputs in network order, with their shapes for one image."""
        return dict(self._specification.layers)

    @property
    def metadata(self) -> Metadata:
        """What the model file says of itself: all of its layers, whichever were chosen."""
        return self._file.metadata

    @property
    def preset(self) -> Preset:
        """How an image becomes an array."""
        return self._preset

    @property
    def image_size(self) -> Size:
        """(height, width) that images are brought to."""
        return self._specification.image_size

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider that is really active."""
        return self._network.provider

    @property
    def decode_threads(self) -> int:
        """Images that are decoded at the same time."""
        return self._decode_threads

    @property
    def unavailable(self) -> dict[str, str]:
        """The providers that ``auto`` would rather have taken, and why it could not."""
        return self._network.unavailable

    @property
    def convolution(self) -> str:
        """``winograd`` if any layer is convolved so, or ``direct``."""
        return self._network.convolution

    @property
    def convolution_variant(self) -> str | None:
        """The vectors that Winograd's convolutions use: ``avx512``, ``avx2`` or ``neon``."""
        return self._network.variant

    @property
    def precision(self) -> Precision:
        """What is really computed in, as the probe has proved."""
        return self._specification.precision

    @property
    def probe_error(self) -> float:
        """Relative L2 error on the model's stored probe, measured when this was made."""
        return self._probe_error

    @property
    def scaling(self) -> Scaling:
        """How pixels become the network's input, as the model says: `normalize` takes it."""
        return self._file.metadata.preprocessing.scaling

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the numbers, and so must agree for all rows of one store."""
        return self._specification.settings

    @property
    def channel_scales(self) -> dict[str, ChannelScales]:
        """What the values of some chosen layers are whole numbers of: those of an int8 model."""
        return dict(self._specification.channel_scales)

    @property
    def provenance(self) -> dict[str, Any]:
        """What else is worth knowing of how the numbers came about."""
        import onnxruntime

        metadata = self._file.metadata
        return {
            "options": asdict(self.options),
            "weights_source": metadata.weights.source,
            "exported_with": metadata.tools,
            "onnxruntime": onnxruntime.__version__,
            "provider": self.provider,
            "provider_options": self._network.options,
            "convolution": self.convolution,
            "convolution_variant": self.convolution_variant,
            "probe_error": self.probe_error,
            "threads": self._threads,
            "batch_size": self._batch_size,
        }

    def with_layers(self, layers: str | Sequence[str], *, pool: Pool = "none") -> "Extractor":
        """Give an extractor of other layers of the same model; the last two are kept.

        All options but `layers` and `pool` are those of this one.

        Raises
        ------
        LayerError, ModelError, ProviderError, PrecisionError
            As for a new one.
        """
        key = (choose(layers, self._file.metadata.layers), pool)
        if key == (self._names, self.options.pool):
            return self
        other = self._others.pop(key, None)
        if other is None:
            options = replace(self.options, layers=key[0], pool=pool)
            other = Extractor.of(self._file.path, options)
        self._others[key] = other
        # Each holds a network's weights; maps with a reference go back and forth between two.
        while len(self._others) > MAX_OTHERS:
            del self._others[next(iter(self._others))]
        return other

    def read(self, image: ImageInput) -> Decoded:
        """Decode one image as `extract` does.

        Returns
        -------
        Decoded
            With `pixels`, uint8 (H, W, 3) in RGB, of the size that the network will see.

        Raises
        ------
        SourceError
            There is no such file.
        InputError
            It can't be read as an image.

        Warns
        -----
        QuirkWarning
            The preset treats the image worse than another would.
        """
        result = decode(image, self._preset, self.image_size)
        if isinstance(result, Reject):
            raise _refusal(result)
        (group,) = groups([result], self._preset, 1)
        return group.decoded[0]

    def run(self, images: Float32, *, check: bool = True) -> dict[str, Float32]:
        """Run preprocessed images through the network.

        Parameters
        ----------
        images
            float32 (N, H, W, 3), as ``sparsefeat.normalize(pixels, extractor.scaling)`` gives;
            for VGG16 itself Keras' ``preprocess_input`` gives the same: BGR minus the means of
            the training set. N may be anything, 0 included.
        check
            Warn where the values look like those of no preprocessed image, or aren't finite.

        Returns
        -------
        dict
            For each chosen layer a new array, float32 (N, H', W', C) or (N, F).

        Raises
        ------
        InputError
            `images` has another dtype or shape, or a size that the model doesn't take.

        Warns
        -----
        ScalingWarning
            Once for each kind of mistake: pixels in 0..255 or 0..1, means subtracted twice, ...
        """
        self._check(images)
        finding = check_scaling(images, self.scaling) if check else None
        if finding is not None and finding.scaling not in self._warned:
            self._warned.add(finding.scaling)
            warnings.warn(str(finding), ScalingWarning, stacklevel=2)
        return self._run(np.ascontiguousarray(images))

    def extract(
        self,
        images: str | os.PathLike[str] | Iterable[ImageInput | Reject],
        *,
        errors: Errors = "warn",
        reuse: bool = False,
        on_decoded: Callable[[Decoded], None] | None = None,
    ) -> Generator[Batch[Csr], None, None]:
        """Decode images, run them, and compress what isn't zero.

        Decoding and the network go on in threads while a batch is worked with.

        Parameters
        ----------
        images
            A folder, a file or a pattern, as `list_images` takes it; or several of these, of
            the bytes of files, of PIL images, of uint8 arrays (H, W, 3) in RGB, or what
            `list_images` gave; or one uint8 array (N, H, W, 3). Consumed as needed, a few
            batches ahead: it may be endless. An array is copied when it is taken, so its memory
            may be used again; a PIL image must stay as it is until its row has come.
        errors
            What to do about an image that can't be read and so has no row: ``warn``; ``raise``;
            or ``ignore`` it, for those who look at each batch's `rejects` themselves.
        reuse
            Give every batch in the same memory: it is valid until the next one is asked for.
        on_decoded
            Called with each image's pixels, as the network will see them, before its row comes;
            in the threads that decode, several at a time.

        Yields
        ------
        Batch
            Rows in the order of `images`, a `Csr` for each layer, whose rows are the
            flattened activations, and the images that could not be read, with the reason.

        Raises
        ------
        InputError
            `images` are not several images: raised at once. Or one of them is none of these,
            or with ``errors="raise"`` can't be read.
        SourceError
            A folder holds no images, or a listed one vanished or can't be read any more; or
            with ``errors="raise"`` a file isn't there.

        Whatever `images` raises is raised as well. What came before has come out by then.

        Warns
        -----
        RejectWarning
            With the first batch in which images could not be read, and at the end if there were
            more; it says how many, and why the first.
        QuirkWarning
            Once for each way in which the preset treats an image worse than another would.
        """
        check_choice(errors, ERRORS, "errors")
        return self._encoded(self.activations(images, errors=errors, on_decoded=on_decoded), reuse)

    def activations(
        self,
        images: str | os.PathLike[str] | Iterable[ImageInput | Reject | Skipped | Load],
        *,
        errors: Errors = "warn",
        stopwatch: Stopwatch | None = None,
        on_decoded: Callable[[Decoded], None] | None = None,
    ) -> Generator[Batch[Float32], None, None]:
        """Extract as `extract` does, with dense layers: float32 (rows, features).

        A batch's memory is used again: it is valid until the next one is asked for. An image may
        also be a function, called in the threads that decode: it gives one, or says that it was
        passed over.
        """
        listed = map(_taken, each_image(images))
        return self._activations(listed, errors, stopwatch or Stopwatch(), on_decoded)

    def _encoded(
        self, batches: Generator[Batch[Float32], None, None], reuse: bool
    ) -> Generator[Batch[Csr], None, None]:
        buffers = {name: CsrBuffers() if reuse else None for name in self._names}

        def encode_one(name: str, dense: Float32) -> Csr:
            return encode(dense, out=buffers[name])

        encoders = ThreadPoolExecutor(self._threads, thread_name_prefix="sparsefeat-encode")
        with encoders, closing(batches):
            for batch in batches:
                compressed = encoders.map(encode_one, batch.layers, batch.layers.values())
                layers = dict(zip(batch.layers, compressed, strict=True))
                yield Batch(rows=batch.rows, layers=layers, rejects=batch.rejects)

    def _activations(
        self,
        images: Iterator[ImageInput | Reject | Skipped | Load],
        errors: Errors,
        stopwatch: Stopwatch,
        on_decoded: Callable[[Decoded], None] | None,
    ) -> Generator[Batch[Float32], None, None]:
        def decode_one(
            image: ImageInput | Reject | Skipped | Load,
        ) -> Decoded | Reject | Skipped:
            with stopwatch.busy("decode"):
                found = image() if callable(image) else image
                decoded: Decoded | Reject | Skipped
                if isinstance(found, Reject | Skipped):  # when it was listed
                    decoded = found
                else:
                    decoded = decode(found, self._preset, self.image_size)
                if isinstance(decoded, Reject) and errors == "raise":
                    raise _refusal(decoded)
                if on_decoded is not None and isinstance(decoded, Decoded):
                    on_decoded(decoded)
                return decoded

        outputs = list(self.layers.values())
        inference = Inference(self._network.run, outputs, self.image_size, self.scaling)

        def infer(group: Group) -> Batch[Float32]:
            with stopwatch.busy("inference"):
                return inference(group)

        # Enough is decoded ahead to fill the next batch while this one runs.
        ahead = 2 * self._batch_size + self._decode_threads
        listed = stopwatch.listing(images)
        decoded = map_ordered(decode_one, listed, threads=self._decode_threads, ahead=ahead)
        collected = groups(decoded, self._preset, self._batch_size)
        computed = map_ordered(infer, collected, threads=1, ahead=BUFFERS)
        rejected = warned = 0
        first: tuple[Reject, ...] = ()
        with closing(decoded), closing(computed):
            while True:
                with stopwatch.busy("next batch"):
                    batch = next(computed, None)
                if batch is None:
                    break
                rejected, first = rejected + len(batch.rejects), first or batch.rejects[:1]
                if rejected and not warned and errors == "warn":
                    warned = rejected
                    warnings.warn(reject_message(first, rejected), RejectWarning, stacklevel=3)
                yield batch
        if rejected > warned and errors == "warn":
            warnings.warn(reject_message(first, rejected), RejectWarning, stacklevel=3)

    def _run(self, images: Float32) -> dict[str, Float32]:
        n, height, width, _ = images.shape
        size = (height, width)
        outputs = empty_outputs(list(self._specification.layers_of(size).values()), n, size)
        for start in range(0, n, self._batch_size):
            batch = slice(start, start + self._batch_size)
            self._network.run(
                images[batch], {name: output[batch] for name, output in outputs.items()}
            )
        return outputs

    def _largest(self, size: Size) -> Layer:
        """Find the layer that takes the most memory for an image, in or before the outputs."""
        layers = [
            output_layer(layer.name, layer, size, "none") for layer in self._file.metadata.layers
        ]
        return max(layers, key=lambda layer: layer.n_features)

    def _check(self, images: Float32) -> None:
        if not isinstance(images, np.ndarray) or images.dtype != np.float32:
            got = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
            raise InputError(
                f"images are {got}, expected a float32 array; images go to .extract(), "
                "uint8 arrays through sparsefeat.normalize(pixels, extractor.scaling) first"
            )
        if images.ndim != 4 or images.shape[3] != 3:
            raise InputError(f"images have shape {images.shape}, expected (N, H, W, 3)")
        height, width = images.shape[1:3]
        if self._size is not None and self._size != (height, width):
            raise InputError(
                f"images are {height}x{width}, expected {self._size[0]}x{self._size[1]}, "
                "the size that this extractor is fixed to"
            )
        check_size(self._file, (height, width))


def _taken(image: T) -> T:
    """Make what another thread will decode later independent of what becomes of it here."""
    if isinstance(image, np.ndarray):
        return image.copy()
    if isinstance(image, Image.Image):
        # Two threads that decode one image at the same time would tear it. If it can't be
        # decoded, `decode` will find the same and say why.
        with suppress(Exception):
            image.load()
    return image


def _refusal(reject: Reject) -> InputError | SourceError:
    where = f"{one_line(reject.path) or 'the image'}: {reject.reason}"
    if reject.reason == Reason.MISSING:
        return SourceError(f"{where}, expected an image; check the path")
    return InputError(f"{where}, expected an image that can be read")
