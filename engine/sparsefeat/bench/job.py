"""What all engines of a comparison are given to do."""

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sparsefeat.bench.engines import Engine
from sparsefeat.errors import InputError, LayerError, ProviderError
from sparsefeat.model import PRE, ModelFile, Size, check_size, choose
from sparsefeat.system.threads import checked_count, chosen_threads


@dataclass(frozen=True, kw_only=True)
class Job:
    """The same for all engines: what to compute, of which model, with how many threads."""

    file: ModelFile
    int8: ModelFile | None
    layers: tuple[str, ...]
    size: Size
    batch_sizes: tuple[int, ...]
    threads: int

    def options(self, engine: Engine) -> dict[str, Any]:
        """Say what a worker builds the engine with, besides the engine's own options.

        Raises
        ------
        ProviderError, LayerError
            There is no model, or there are no layers, for this engine.
        """
        file = self.file
        if engine.precision == "int8":
            if self.int8 is None:
                raise ProviderError(
                    f"engine {engine.name} needs an int8 model: make one with sparsefeat quantize "
                    "and name it with --int8"
                )
            file = self.int8
        common = {"model": str(file.path), "layers": list(self.layers), "threads": self.threads}
        if engine.framework != "tensorflow":
            return common | {"size": list(self.size), "batch_sizes": list(self.batch_sizes)}
        inner = [layer for layer in self.layers if layer.endswith(PRE)]
        if inner:
            raise LayerError(
                f"engine {engine.name} can't give {inner[0]}: Keras' layers are rectified already; "
                "leave it out, or compare the others without this engine"
            )
        return common


def make_job(
    model: str | os.PathLike[str],
    int8: str | os.PathLike[str] | None,
    layers: str | Sequence[str],
    size: Size | None,
    batch_sizes: Collection[int],
    threads: int | None,
    rounds: int,
    seconds: float | None,
) -> Job:
    """Check what `compare` was asked for, before anything is started.

    Raises
    ------
    ModelError, LayerError, InputError
        Something of it can't be.
    """
    sizes = tuple(sorted(set(batch_sizes)))
    checked_count("rounds", rounds)
    for batch_size in sizes or (0,):
        checked_count("batch size", batch_size)
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"seconds is {seconds}, expected a finite number of more than 0")
    file = ModelFile.open(model)
    if file.metadata.precision != "fp32":
        raise InputError(
            f"{file.path.name} is an int8 model, expected the float32 one that it was made of; "
            "name this one with --int8 beside it"
        )
    quantized = None if int8 is None else ModelFile.open(int8)
    if quantized is not None:
        _check_same(file, quantized)
    return Job(
        file=file,
        int8=quantized,
        layers=choose(layers, file.metadata.layers),
        size=check_size(file, size) or file.metadata.preprocessing.size,
        batch_sizes=sizes,
        threads=chosen_threads(threads),
    )


def _check_same(file: ModelFile, quantized: ModelFile) -> None:
    if quantized.metadata.precision != "int8":
        raise InputError(
            f"{quantized.path.name} is a {quantized.metadata.precision} model, expected an int8 "
            "one; make it with sparsefeat quantize"
        )
    if quantized.metadata.weights.sha256 != file.metadata.weights.sha256:
        raise InputError(
            f"{quantized.path.name} was not made of {file.path.name}: their weights are others"
        )
    if quantized.metadata.preprocessing.scaling != file.metadata.preprocessing.scaling:
        raise InputError(
            f"{quantized.path.name} was not made of {file.path.name}: it was exported with another "
            "scaling"
        )
