from sparsefeat.benchmark.words import COLUMNS, cautions, findings, heading, method, table

from .results import measurement, noisy, result


def test_a_winner_is_named_only_where_there_is_one() -> None:
    found = result(
        measurement("keras-predict", noisy(5, seed=1)),
        measurement("tf-jit", noisy(10, seed=2), again=noisy(10, seed=5)),
        measurement("ort-cpu", noisy(20, seed=3)),
        measurement("ort-openvino", noisy(10, seed=4)),
    )
    slower, faster, level = findings(found)
    assert slower.startswith("Batches of 1: keras-predict is slower than tf-jit: 0.5")
    assert faster.startswith("Batches of 1: ort-cpu is 1.97")
    assert "times as fast as tf-jit" in faster
    assert level.startswith("Batches of 1: ort-openvino and tf-jit: no difference that 15 rounds")


def test_few_rounds_name_none() -> None:
    found = result(measurement("tf-jit", [10] * 3), measurement("ort-cpu", [90] * 3))
    assert findings(found) == [
        "Batches of 1: ort-cpu against tf-jit: too few rounds to tell (3 rounds)."
    ]


def test_the_baseline_asked_for_and_the_one_without_tensorflow() -> None:
    both = [measurement("ort-openvino", [10] * 6), measurement("ort-cpu", [9] * 6)]
    assert {row.baseline for row in result(*both).rows()} == {"ort-cpu"}
    asked = result(*both, settings={"baseline": "ort-openvino"})
    assert {row.baseline for row in asked.rows()} == {"ort-openvino"}
    assert {row.baseline for row in result(both[0]).rows()} == {"ort-openvino"}


def test_the_baseline_may_be_another_for_each_batch_size() -> None:
    found = result(
        measurement("tf-function", [8] * 6, batch_size=1),
        measurement("tf-jit", [9] * 6, batch_size=1),
        measurement("tf-function", [99] * 6, batch_size=8),
        measurement("tf-jit", [9] * 6, batch_size=8),
    )
    assert [row.baseline for row in found.rows()] == ["tf-jit"] * 2 + ["tf-function"] * 2


def test_the_table() -> None:
    found = result(
        measurement("keras-predict", [8] * 6, again=[8] * 6), measurement("ort-cpu", [16] * 6)
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


def test_what_to_keep_in_mind() -> None:
    one = measurement("ort-cpu", [8] * 6)
    assert cautions(result(one)) == []
    machine = result(one).environment
    starved = measurement("ort-cpu", [8] * 6, delayed=0.35, settled=False)
    said = cautions(
        result(
            starved,
            measurement("ort-openvino", [8] * 6, batch_size=4, reference="ort-cpu"),
            environment=machine
            | {"load_average": [3.5, 0, 0]}
            | {"limits": machine["limits"] | {"available_threads": 2}},
            left_out={"tf-jit": "not installed"},
            settings={"threads": 4},
            stopped=True,
        )
    )
    text = " ".join(said)
    assert "ort-openvino was not steady" not in text
    for words in (
        "tf-jit is left out: not installed",
        "ended early",
        "load average 3.5",
        "had no processor for up to 35 %",
        "ort-cpu was not steady after 1 batch of 1 to warm up",
        "compared with ort-cpu's, as Keras can't",
        "4 threads were asked for, but only 2",
        "Only 1 picture could",
    ):
        assert words in text


def test_method_and_heading() -> None:
    found = result(measurement("ort-cpu", [8] * 6))
    assert "with 1 thread," in method(found)[1]
    assert heading(found).startswith("vgg16.onnx, block5_pool, pictures of 224x224, 1 thread, ")
