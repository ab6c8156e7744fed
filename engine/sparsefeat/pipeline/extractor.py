"""The extractor: runs images through the network and returns activations."""

import logging
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, replace
from typing import Any, Literal, Self, TypeVar, Unpack, get_args

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
    choose_layers,
    output_layer,
)
from sparsefeat.pipeline.batching import Group, groups
from sparsefeat.pipeline.inference import BUFFERS, Inference, choose_batch_size, empty_outputs
from sparsefeat.pipeline.options import ExtractorOptions, KeywordOptions, show_options
from sparsefeat.pipeline.profile import Stopwatch
from sparsefeat.pipeline.scaling import ScalingWarning, check_scaling
from sparsefeat.pipeline.specification import Specification
from sparsefeat.runtime import Network, Precision, check_probe, has_probe_for
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
        Path of a model file written by ``sparsefeat export``.
    layers, pool, size, ...
        See `ExtractorOptions`.

    Raises
    ------
    ModelError
        `model` does not exist, was not exported by sparsefeat, or is damaged.
    LayerError
        The model has no such layer.
    ProviderError
        The provider is not available, or can't run the whole graph.
    PrecisionError
        The precision is not available, or the results for the model's probe are wrong for it.
    InputError
        Another option has an invalid value.

    Examples
    --------
    >>> import sparsefeat
    >>> extractor = sparsefeat.Extractor("vgg16.onnx", layers="block4_pool,block5_pool")
    >>> for batch in extractor.extract(["cat.jpg", "dog.jpg"]):
    ...     print(batch.layers["block5_pool"].n_rows, batch.layers["block5_pool"].n_columns)
    2 25088
    """

    @show_options
    def __init__(
        self,
        model: str | os.PathLike[str],
        layers: str | Sequence[str] = "block5_pool",
        **options: Unpack[KeywordOptions],
    ) -> None:
        given = ExtractorOptions(layers, **options)
        self._specification = Specification.of(model, given)
        self._others: dict[tuple[tuple[str, ...], Pool], Extractor] = {}
        self._threads = choose_threads(given.threads)
        self._decode_threads = given.decode_threads or self._threads
        self._warned: set[str] = set()

        self._file, self._size = self._specification.file, self._specification.size
        self._preset = self._specification.preset
        self._names, precision = self._specification.names, self._specification.precision
        # Fix the graph to the size only if the model has probe values for it.
        fixed = self._size
        if fixed is not None and not has_probe_for(self._file, fixed, given.pool):
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
        self._probe_error = check_probe(
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
        """Make an extractor from an `ExtractorOptions`."""
        return cls(model, **vars(options))

    def __repr__(self) -> str:
        return f"Extractor.of({str(self._file.path)!r}, {self.options})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling and copying: a copy loads the network again."""
        return Extractor.of, (str(self._file.path), self.options)

    def __call__(self, images: Float32) -> dict[str, Float32]:
        """Run preprocessed images through the network: see `run`."""
        return self.run(images)

    @property
    def options(self) -> ExtractorOptions:
        """The options of this extractor."""
        return self._specification.options

    @property
    def specification(self) -> Specification:
        """What it computes, determined before the network was loaded."""
        return self._specification

    @property
    def layers(self) -> dict[str, Layer]:
        """The chosen outputs in network order, with their shapes for one image."""
        return dict(self._specification.layers)

    @property
    def metadata(self) -> Metadata:
        """The metadata of the model file, with all of its layers."""
        return self._file.metadata

    @property
    def preset(self) -> Preset:
        """The preset that turns an image into an array."""
        return self._preset

    @property
    def image_size(self) -> Size:
        """(height, width) that images are resized to."""
        return self._specification.image_size

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the active provider."""
        return self._network.provider

    @property
    def decode_threads(self) -> int:
        """Number of images that are decoded at the same time."""
        return self._decode_threads

    @property
    def unavailable(self) -> dict[str, str]:
        """The faster providers that ``auto`` could not use: the reason by name."""
        return self._network.unavailable

    @property
    def convolution(self) -> str:
        """``winograd`` if any layer uses a Winograd convolution, otherwise ``direct``."""
        return self._network.convolution

    @property
    def convolution_variant(self) -> str | None:
        """The vector instructions of Winograd convolutions: ``avx512``, ``avx2`` or ``neon``."""
        return self._network.variant

    @property
    def precision(self) -> Precision:
        """The active precision, which the probe has confirmed."""
        return self._specification.precision

    @property
    def probe_error(self) -> float:
        """Relative L2 error on the model's probe, measured when the extractor was created."""
        return self._probe_error

    @property
    def scaling(self) -> Scaling:
        """How pixels are scaled to the network's input; an argument of `normalize`."""
        return self._file.metadata.preprocessing.scaling

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the activations; they must be the same for a whole store."""
        return self._specification.settings

    @property
    def channel_scales(self) -> dict[str, ChannelScales]:
        """The scales of those chosen layers that have integer codes; empty unless int8."""
        return dict(self._specification.channel_scales)

    @property
    def provenance(self) -> dict[str, Any]:
        """Further facts about how the activations were computed, for the store's records."""
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
        """Return an extractor for other layers of the same model; the last two are cached.

        All options except `layers` and `pool` are those of this extractor.

        Raises
        ------
        LayerError, ModelError, ProviderError, PrecisionError
            As for a new extractor.
        """
        key = (choose_layers(layers, self._file.metadata.layers), pool)
        if key == (self._names, self.options.pool):
            return self
        other = self._others.pop(key, None)
        if other is None:
            options = replace(self.options, layers=key[0], pool=pool)
            other = Extractor.of(self._file.path, options)
        self._others[key] = other
        # Each holds the weights of a network. Feature maps with a reference alternate between two.
        while len(self._others) > MAX_OTHERS:
            del self._others[next(iter(self._others))]
        return other

    def read(self, image: ImageInput) -> Decoded:
        """Decode one image as `extract` does.

        Returns
        -------
        Decoded
            Its `pixels` are uint8 RGB (H, W, 3), resized as for the network.

        Raises
        ------
        SourceError
            There is no such file.
        InputError
            The file can't be read as an image.

        Warns
        -----
        QuirkWarning
            Another preset would treat the image better.
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
            float32 (N, H, W, 3), scaled by ``sparsefeat.normalize(pixels, extractor.scaling)``. For
            VGG16, Keras' ``preprocess_input`` gives the same: BGR minus the means of the training
            set. N may be any number, including 0.
        check
            Warn if the values seem to be scaled wrongly or are not finite.

        Returns
        -------
        dict
            For each chosen layer a new array, float32 (N, H', W', C) or (N, F).

        Raises
        ------
        InputError
            `images` has another dtype or shape, or a size that the model does not accept.

        Warns
        -----
        ScalingWarning
            Once for each kind of mistake, for example unscaled pixels.
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
        """Decode images, run them through the network, and encode the activations as CSR.

        While the caller uses a batch, decoding and inference continue in other threads.

        Parameters
        ----------
        images
            A folder, a file or a pattern, as for `list_images`; or an iterable of paths, bytes of
            files, PIL images, uint8 RGB arrays (H, W, 3), or results of `list_images`; or one uint8
            array (N, H, W, 3). An iterable is consumed a few batches ahead, and may be endless.
            Arrays are copied, so their memory may be reused; a PIL image must not be changed until
            its row is returned.
        errors
            What to do with an image that can't be read and so has no row: ``warn``, ``raise``, or
            ``ignore`` for callers that check the `rejects` of each batch.
        reuse
            Return every batch in the same memory; it is valid until the next batch is requested.
        on_decoded
            Called with each decoded image before its row is returned; called in the decoding
            threads, several at a time.

        Yields
        ------
        Batch
            The records of the images, in the order of `images`; for each layer a `Csr` with a row
            of flattened activations for each image; and the images that could not be read.

        Raises
        ------
        InputError
            `images` is not one of the above (raised immediately), or an item is not; or, with
            ``errors="raise"``, an image can't be read.
        SourceError
            A folder contains no images, or a listed folder can't be read any more; or, with
            ``errors="raise"``, a file does not exist.

        Exceptions of the iterable `images` are passed on. All earlier rows are returned first.

        Warns
        -----
        RejectWarning
            With the first batch that has unreadable images, and at the end if there were more. It
            gives their number and the first reason.
        QuirkWarning
            Once for each kind of image that another preset would treat better.
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
        """Extract as `extract` does, but with dense layers: float32 (rows, features).

        The memory of a batch is reused: it is valid until the next batch is requested. An item of
        `images` may also be a function, which is called in a decoding thread and returns an image
        or `Skipped`.
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
                if isinstance(found, Reject | Skipped):  # rejected or skipped when it was listed
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

        # Decode far enough ahead to fill the next batch while this one runs.
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
        """Return the layer of the model with the most activations for an image of `size`."""
        layers = [
            output_layer(layer.name, layer, size, "none") for layer in self._file.metadata.layers
        ]
        return max(layers, key=lambda layer: layer.n_features)

    def _check(self, images: Float32) -> None:
        if not isinstance(images, np.ndarray) or images.dtype != np.float32:
            got = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
            raise InputError(
                f"images are {got}, expected a float32 array: pass images to .extract(), and uint8 "
                "arrays through sparsefeat.normalize(pixels, extractor.scaling) first"
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
    """Protect an image that another thread will decode later from changes by the caller."""
    if isinstance(image, np.ndarray):
        return image.copy()
    if isinstance(image, Image.Image):
        # Decode it now: two threads must not decode the same PIL image at the same time. If that
        # fails, `decode` fails too and reports the reason.
        with suppress(Exception):
            image.load()
    return image


def _refusal(reject: Reject) -> InputError | SourceError:
    where = f"{one_line(reject.path) or 'the image'}: {reject.reason}"
    if reject.reason == Reason.MISSING:
        return SourceError(f"{where}, expected an image; check the path")
    return InputError(f"{where}, expected an image that can be read")
