import pytest

from sparsefeat.bench.text import COLUMNS, cautions, findings, heading, method, table

from .results import measurement, noisy, result


def test_a_winner_is_named_only_if_there_is_one() -> None:
    found = result(
        measurement("keras-predict", noisy(5, seed=1)),
        measurement("tf-jit", noisy(10, seed=2), repeats_timed=noisy(10, seed=5)),
        measurement("onnxruntime-cpu", noisy(20, seed=3)),
        measurement("onnxruntime-openvino", noisy(10, seed=4)),
    )
    slower, faster, level = findings(found)
    assert slower.startswith("Batches of 1: keras-predict is slower than tf-jit: 0.5")
    assert faster.startswith("Batches of 1: onnxruntime-cpu is 1.97")
    assert "times as fast as tf-jit" in faster
    assert level.startswith(
        "Batches of 1: onnxruntime-openvino and tf-jit: no difference in 15 rounds"
    )


def test_too_few_rounds_name_no_winner() -> None:
    found = result(measurement("tf-jit", [10] * 3), measurement("onnxruntime-cpu", [90] * 3))
    assert findings(found) == [
        "Batches of 1: onnxruntime-cpu against tf-jit: 3 rounds, too few to tell."
    ]


def test_without_tensorflow_the_baseline_is_the_cpu_provider_or_the_requested_one() -> None:
    both = [measurement("onnxruntime-openvino", [10] * 6), measurement("onnxruntime-cpu", [9] * 6)]
    assert {row.baseline for row in result(*both).rows()} == {"onnxruntime-cpu"}
    asked = result(*both, settings={"baseline": "onnxruntime-openvino"})
    assert {row.baseline for row in asked.rows()} == {"onnxruntime-openvino"}
    assert {row.baseline for row in result(both[0]).rows()} == {"onnxruntime-openvino"}


def test_the_baseline_may_be_another_for_each_batch_size() -> None:
    found = result(
        measurement("tf-function", [8] * 6, batch_size=1),
        measurement("tf-jit", [9] * 6, batch_size=1),
        measurement("tf-function", [99] * 6, batch_size=8),
        measurement("tf-jit", [9] * 6, batch_size=8),
    )
    assert [row.baseline for row in found.rows()] == ["tf-jit"] * 2 + ["tf-function"] * 2


def test_the_table_has_all_figures() -> None:
    found = result(
        measurement("keras-predict", [8] * 6, repeats_timed=[8] * 6),
        measurement("onnxruntime-cpu", [16] * 6),
    )
    first, second = (dict(zip(COLUMNS, line, strict=True)) for line in table(found.rows()))
    assert first == {
        "engine": "keras-predict",
        "batch": "1",
        "images/s": "8.00",
        "p50 ms": "125",
        "p90 ms": "125",
        "p99 ms": "125",
        "ratio": "1",
        "95 %": "",
        "verdict": "baseline",
        "relative error": "reference",
        "zeros agree": "",
    }
    assert (second["ratio"], second["95 %"], second["verdict"]) == ("2.00", "2.00-2.00", "faster")
    assert (second["relative error"], second["zeros agree"]) == ("0.0e+00", "1.0000")


def test_cautions_name_what_limits_the_comparison() -> None:
    one = measurement("onnxruntime-cpu", [8] * 6)
    assert cautions(result(one)) == []
    machine = result(one).environment
    starved = measurement("onnxruntime-cpu", [8] * 6, delayed=0.35, others=1.5, settled=False)
    said = cautions(
        result(
            starved,
            measurement("onnxruntime-openvino", [8] * 6, batch_size=4, reference="onnxruntime-cpu"),
            environment=machine
            | {"limits": machine["limits"] | {"available_threads": 2, "affinity": [0, 1]}},
            left_out={"tf-jit": "not installed"},
            settings={"threads": 4},
            stopped=True,
        )
    )
    text = " ".join(said)
    assert "onnxruntime-openvino were not steady" not in text
    for words in (
        "tf-jit was left out: not installed",
        "stopped early",
        "other programs used up to 1.5 of 2 processors",
        "had no processor for up to 35 %",
        "The times of onnxruntime-cpu were not steady after a warm-up of 1 batch of 1",
        "compared with those of onnxruntime-cpu, because Keras isn't",
        "had 4 threads, but this process may use only 2 processors",
        "Only 1 image could",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("others", "load", "processors", "threads", "busy"),
    [
        (0.0, 0.5, 2, 2, False),  # the load is that of earlier programs
        (0.0, 9.0, 2, 2, False),
        (0.1, 0.0, 2, 2, False),
        (0.5, 0.0, 2, 2, True),
        (0.9, 0.0, 2, 1, False),  # on the other processor
        (1.5, 0.0, 2, 1, True),
        (50.0, 50.0, 64, 2, False),  # a container that may use two of a host's many
        (None, 0.5, 2, 2, False),
        (None, 3.5, 2, 2, True),
        (None, 3.5, 8, 2, False),
        (None, None, 2, 2, False),  # Windows
    ],
)
def test_the_machine_is_busy_if_others_used_the_processors(
    others: float | None, load: float | None, processors: int, threads: int, busy: bool
) -> None:
    machine = result(measurement("onnxruntime-cpu", [8] * 6)).environment
    affinity = list(range(processors))
    limits = machine["limits"] | {"affinity": affinity, "available_threads": threads}
    found = result(
        measurement("onnxruntime-cpu", [8] * 6, others=others),
        environment=machine | {"load_average": load and [load, 0.0, 0.0]} | {"limits": limits},
        settings={"threads": threads},
    )
    assert any("machine was busy" in sentence for sentence in cautions(found)) == busy


def test_the_text_describes_runs_from_files() -> None:
    found = result(measurement("sparsefeat", [8] * 6), settings={"from_files": True, "images": 16})
    assert method(found)[0].startswith("Each run went from JPEG files to features: 1 image ")
    assert "images of 224x224 from JPEG files" in heading(found)
    assert cautions(found) == ["Only 1 image could be used: images repeat within each turn."]


def test_the_heading_and_the_method_are_described() -> None:
    found = result(measurement("onnxruntime-cpu", [8] * 6))
    assert "with 1 thread," in method(found)[1]
    assert heading(found).startswith("vgg16.onnx, block5_pool, images of 224x224, 1 thread, ")
