"""Units whose workers die, in cases that would be too slow with real processes."""

import threading
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest

import sparsefeat
from sparsefeat.cluster import Finished, Workers
from sparsefeat.errors import ClusterError, SourceError
from sparsefeat.images import Source
from sparsefeat.pipeline import ExtractionResult
from sparsefeat.pipeline.units import Pending, Unit, UnitResult, UnitRun
from sparsefeat.store import StoreWriter
from sparsefeat.types import Batch, Layer, Row, Skipped

LAYERS = [Layer(name="fc2", shape=(4,))]
Death = Callable[[Unit], tuple[str, bool] | None]


def source(number: int, content: bytes | None = None) -> Source:
    return Source(
        file=f"/images/{number:04}.png",
        root="/images",
        path=f"{number:04}.png",
        label="",
        bytes=9,
        mtime_ns=1,
        content=content,
    )


def write(unit: Unit) -> UnitResult:
    """Write rows for a unit's images as `extract_unit` does, but without a network."""
    counts = ExtractionResult()
    with StoreWriter.open(
        unit.store, layers=LAYERS, settings={}, provenance={}, detached=True
    ) as writer:
        rows = tuple(
            Row(
                path=each.path,
                root=each.root,
                label="",
                bytes=each.bytes,
                mtime_ns=each.mtime_ns,
                sha256="00",
                width=2,
                height=2,
                format="PNG",
            )
            for each in unit.images
        )
        if rows:
            batch = Batch(rows=rows, layers={"fc2": np.ones((len(rows), 4), np.float32)})
            counts.add(batch, writer.append(batch))
        writer.commit()
    return UnitResult(parts=tuple(writer.parts), counts=counts, warnings=())


class InProcess(Workers[Unit, UnitResult]):
    """Workers in this process, which extract a unit or die as `death` says."""

    capacity = 2

    def __init__(self, death: Death, capacity: int = 2) -> None:
        super().__init__()
        self._death, self.capacity = death, capacity
        self.most_running = 0
        self.deaths = 0

    def submit(self, argument: Unit) -> None:
        self._running[object()] = argument
        self.most_running = max(self.most_running, self.n_running)

    def _wait(self, seconds: float) -> list[object]:
        return [next(iter(self._running))]

    def _end(self, call: object, argument: Unit) -> Finished[Unit, UnitResult]:
        if (died := self._death(argument)) is None:
            return Finished(argument=argument, result=write(argument))
        self.deaths += 1
        reason, blameless = died
        return Finished(argument=argument, death=reason, blameless=blameless)

    def close(self) -> None:
        pass


def run(
    folder: Path, workers: InProcess, pending: Generator[Pending, None, None], size: int
) -> ExtractionResult:
    result = ExtractionResult()
    with StoreWriter.open(folder, layers=LAYERS, settings={}, provenance={}) as writer:
        blank = Unit(
            store=str(folder),
            model="",
            options=sparsefeat.ExtractorOptions(),
            layers=("fc2",),
            settings={},
            values="float32",
            rows_per_part=size,
        )
        UnitRun(workers, writer, blank, result).run(
            pending, size, progress=lambda: None, stop=threading.Event()
        )
    return result


def images(count: int) -> Generator[Pending, None, None]:
    yield from map(source, range(count))


def poison(number: int) -> Death:
    path = f"{number:04}.png"

    def death(unit: Unit) -> tuple[str, bool] | None:
        dies = any(each.path == path for each in unit.images)
        return ("its process died", False) if dies else None

    return death


def test_one_bad_image_of_a_thousand_is_found_in_few_deaths(tmp_path: Path) -> None:
    workers = InProcess(poison(700))
    result = run(tmp_path / "features", workers, images(1024), 1024)
    store = sparsefeat.open(tmp_path / "features")
    assert (result.rows, result.rejected, result.crashes) == (1023, 1, workers.deaths)
    assert store.rejected["path"].tolist() == ["0700.png"]
    assert set(Counter(store.obs["path"]).values()) == {1}
    # The unit twice; an eighth, a 64th, a 512th of it; then single images several times.
    assert workers.deaths <= 9


@pytest.mark.parametrize("blameless", [False, True])
def test_workers_that_die_without_images_are_an_error(tmp_path: Path, blameless: bool) -> None:
    folder = tmp_path / "features"
    with pytest.raises(ClusterError, match="without images to read died"):
        run(folder, InProcess(lambda unit: ("its process died", blameless)), images(3), 3)
    with pytest.raises(sparsefeat.StoreNotFoundError):
        sparsefeat.open(folder)


def test_lost_machines_are_not_blamed_on_images(tmp_path: Path) -> None:
    lost = iter([True] * 5)
    workers = InProcess(lambda unit: ("its machine was lost", True) if next(lost, False) else None)
    result = run(tmp_path / "features", workers, images(10), 10)
    assert (result.rows, result.rejected, result.crashes) == (10, 0, 5)
    assert len(sparsefeat.open(tmp_path / "features").parts) == 1


def test_images_listed_before_a_failure_are_committed(tmp_path: Path) -> None:
    def failing() -> Generator[Pending, None, None]:
        yield from images(7)
        yield Skipped(stored=2)
        raise SourceError("the folder has vanished")

    with pytest.raises(SourceError, match="the folder has vanished"):
        run(tmp_path / "features", InProcess(lambda unit: None), failing(), 2)
    assert len(sparsefeat.open(tmp_path / "features")) == 6  # of complete units


def test_units_with_bytes_are_limited_in_number(tmp_path: Path) -> None:
    large = bytes(48 << 20)  # one object, many times
    workers = InProcess(lambda unit: None, capacity=50)
    pending: Generator[Pending, None, None] = (source(n, large) for n in range(60))
    result = run(tmp_path / "features", workers, pending, 1)
    assert result.rows == 60
    assert 15 < workers.most_running <= 22  # a gigabyte
