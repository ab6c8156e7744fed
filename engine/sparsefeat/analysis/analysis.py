"""Analyses the zeros of a store or of images in one call."""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sparsefeat.analysis.counting import count_images, count_store
from sparsefeat.analysis.flatness import stored_flatness
from sparsefeat.analysis.result import FLATNESS, Sparsity
from sparsefeat.errors import InputError
from sparsefeat.images import each_image
from sparsefeat.store import Store, choose_stored_layers, is_store
from sparsefeat.types import Reject, RejectWarning, Row, reject_message

if TYPE_CHECKING:
    from sparsefeat.images import ImageInput
    from sparsefeat.pipeline import Extractor

Progress = Callable[[int, int, str], None]
"""Called with the number of items done, the total, and the layer or measure being computed."""


def analyse(
    source: "Store | str | os.PathLike[str] | Iterable[ImageInput | Reject]",
    layers: str | Sequence[str] | None = None,
    *,
    extractor: "Extractor | None" = None,
    flatness: bool | None = None,
    images: str | os.PathLike[str] | None = None,
    positions: bool = True,
    name: str | None = None,
    progress: Progress | None = None,
) -> Sparsity:
    """Count the zeros of a store or of images, layer by layer.

    Parameters
    ----------
    source
        A store or its folder; or images, one or several, as `Extractor.extract` takes them.
    layers
        The layers of a store to count, as names and patterns; by default all. For images leave
        it out: the extractor's layers are counted.
    extractor
        Runs the network. Required for images, not allowed for a store.
    flatness
        Whether to measure how flat each image is. By default true for images, which are decoded
        anyway, and false for a store, whose images have to be read again.
    images
        The folder where a store's images are now, if they were moved. Used for flatness only.
    positions
        Whether to count by position, and in how many images each channel is active. Without it
        the counts that the store recorded are read, and none of its indices.
    name
        The name of the set of images; by default that of `source`.
    progress
        Called as the work goes on with three arguments. For a store: the number of rows done, the
        total, and the name of the layer that is being counted, or "flatness". For images: the
        number of images done, the total (of a generator, whose length isn't known, the number
        done), and "".

    Raises
    ------
    InputError
        `extractor` is missing for images, or given for a store; `layers` or `images` is given for
        images; or `images` is given without `flatness`.
    SourceError
        The images can't be listed.
    LayerError, StoreError
        The store doesn't have one of the layers, or can't be read.

    Warns
    -----
    RejectWarning
        Some images could not be read; the result's `rejects` lists them.

    Examples
    --------
    >>> import sparsefeat
    >>> extractor = sparsefeat.Extractor("vgg16.onnx", layers="block1_pool,block5_pool")
    >>> sparsity = sparsefeat.analyse("photos/", extractor=extractor)
    >>> sparsity.layers["zeros"].round(1).tolist()
    [0.2, 0.9]
    """
    if isinstance(source, Store) or is_store(source):
        if extractor is not None:
            raise InputError(
                f"{source} is a store, and an extractor is for images: leave the extractor out"
            )
        if images is not None and not flatness:
            raise InputError("images is used for flatness only: pass flatness=True too")
        return _of_store(source, layers, flatness, images, positions, name, progress)
    if extractor is None:
        raise InputError(
            f"got {_called(source)} and no extractor, expected one for images: pass "
            "extractor=sparsefeat.Extractor(model, layers), or name a store"
        )
    if layers is not None:
        raise InputError(
            "layers chooses among a store's layers; for images, pass layers to the Extractor"
        )
    if images is not None:
        raise InputError(
            "images says where a store's images are now: leave it out if source is not a store"
        )
    inputs: Iterable[ImageInput | Reject] = each_image(source)
    if isinstance(source, str | os.PathLike | Sized):
        inputs = [*inputs]
    return _of_images(inputs, extractor, flatness, name or _called(source), progress)


def _of_store(
    source: Any,
    layers: str | Sequence[str] | None,
    flatness: bool | None,
    images: str | os.PathLike[str] | None,
    positions: bool,
    name: str | None,
    progress: Progress | None,
) -> Sparsity:
    store = source if isinstance(source, Store) else Store(source)
    counts = count_store(
        store,
        choose_stored_layers(layers, list(store.layers)),
        positions=positions,
        progress=progress,
    )
    obs = store.obs
    unmeasured: dict[str, int] = {}
    if flatness:
        *measured, unmeasured = stored_flatness(
            store,
            images=images,
            progress=None
            if progress is None
            else lambda done, total: progress(done, total, "flatness"),
        )
        obs = obs.assign(**dict(zip(FLATNESS, measured, strict=True)))
    rejects = tuple(
        Reject(**{field.name: line[field.name] for field in fields(Reject)})
        for line in store.rejected.to_dict("records")
    )
    return Sparsity(
        source=name or str(store.folder),
        counts=counts,
        obs=obs,
        rejects=rejects,
        settings=store.settings,
        unmeasured=unmeasured,
    )


def _of_images(
    inputs: "Iterable[ImageInput | Reject]",
    extractor: "Extractor",
    flatness: bool | None,
    name: str,
    progress: Progress | None,
) -> Sparsity:
    import pandas as pd

    total = len(inputs) if isinstance(inputs, Sized) else 0
    flatness = flatness is None or flatness
    found = count_images(
        extractor,
        inputs,
        flatness=flatness,
        progress=None if progress is None else lambda done: progress(done, max(done, total), ""),
    )
    if found.rejects:
        warnings.warn(reject_message(found.rejects), RejectWarning, stacklevel=3)
    columns = [field.name for field in fields(Row)]
    obs = pd.DataFrame([asdict(row) for row in found.rows], columns=columns)
    if flatness:
        for measure in FLATNESS:
            obs[measure] = pd.Series(
                [getattr(each, measure) for each in found.flatness], dtype="float64"
            )
    return Sparsity(
        source=name,
        counts=found.counts,
        obs=obs,
        rejects=found.rejects,
        settings=extractor.settings,
    )


def _called(source: object) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "images"
