import dataclasses
from pathlib import Path

from sparsefeat import build_report
from sparsefeat.system.text import percent
from sparsefeat.viz.report.text import (
    channel_sentences,
    findings,
    heading,
    main_rows,
    outlier_method,
    provenance_rows,
    settings_rows,
    title,
)

from ...store.data import make_batch, make_reject, write_store
from .conftest import Real


def test_findings_state_the_main_numbers(real: Real) -> None:
    found = real.report
    assert title(found) == "Zeros in features"
    assert heading(found).startswith("6 images, 6 layers, ")
    said = findings(found)
    share = (real.dense["block5_pool"] == 0).mean()
    assert said[0].startswith(f"{percent(float(share))} of block5_pool is zero: ")
    fewest = percent(float((real.dense["block1_pool"] == 0).mean()))
    assert f"block1_pool has the fewest zeros ({fewest})" in said[1]
    assert "/pre" not in said[1]
    assert said[-1] == "1 file could not be read as an image."


def test_dead_and_always_on_channels_are_listed(real: Real) -> None:
    said = channel_sentences(real.report)
    (block1,) = (s for s in said if s.startswith("block1_pool, always on"))
    active = (real.dense["block1_pool"] != 0).any(axis=(1, 2)).all(axis=0)
    assert active.all()
    assert block1.endswith(": 0-63")


def test_provenance_names_weights_preprocessing_precision_and_versions(real: Real) -> None:
    settings, provenance = settings_rows(real.report), provenance_rows(real.report)
    main = dict(main_rows(settings, provenance))
    assert main["weights"] == "pretrained"
    assert len(main["SHA-256 of the weights"]) == 64
    assert main["preprocessing"] == "keras"
    assert main["height and width of images"] == "224, 224"
    assert main["precision"] == "fp32"
    assert main["provider"] == "CPUExecutionProvider"
    assert float(main["probe error (relative, L2)"]) < 5e-5
    assert ("scaling.mean", "103.939, 116.779, 123.68") in settings


def test_differing_provenance_is_counted_by_part(tmp_path: Path) -> None:
    for number, threads in enumerate((2, 8, 2)):
        write_store(tmp_path, [make_batch([number])], provenance={"threads": threads})
    report = build_report(tmp_path)
    assert provenance_rows(report) == [("threads", "2 (2 of 3); 8 (1 of 3)")]


def test_findings_for_one_and_no_image(tmp_path: Path) -> None:
    write_store(tmp_path / "one", [make_batch([0])])
    said = findings(build_report(tmp_path / "one"))
    assert said[0].endswith("is zero in the only image.")
    write_store(tmp_path / "none", [make_batch([], rejects=[make_reject(0)])])
    none = build_report(tmp_path / "none")
    assert findings(none) == ["The store has no rows: 1 file could not be read as an image."]
    assert "fewer than 10" in outlier_method(none)


def test_dead_channels_of_few_images_come_with_a_caveat(real: Real) -> None:
    zeros = real.report.zeros["block5_pool"]
    dead = zeros.per_channel.copy()
    dead[3] = zeros.n_rows * zeros.n_positions
    changed = dataclasses.replace(zeros, per_channel=dead)
    report = dataclasses.replace(real.report, zeros=real.report.zeros | {"block5_pool": changed})
    (sentence,) = (said for said in findings(report) if "dead" in said)
    assert sentence.startswith("1 of the 512 channels of block5_pool is dead; ")
    assert sentence.endswith(
        "With only 6 images this says little: another image may activate them."
    )
    assert "block5_pool, dead: 3" in channel_sentences(report)
