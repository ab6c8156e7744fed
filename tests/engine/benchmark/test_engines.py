import pytest

from sparsefeat.benchmark.engines import ENGINES, choose_engines
from sparsefeat.errors import InputError


def test_all_of_them_and_some() -> None:
    assert [one.name for one in choose_engines("all")] == list(ENGINES)
    assert [one.name for one in choose_engines(["ort-cpu", "keras-predict"])] == [
        "keras-predict",
        "ort-cpu",
    ]
    assert choose_engines(" ort-cpu, ort-cpu,") == (ENGINES["ort-cpu"],)


@pytest.mark.parametrize("wanted", ["ort-gpu", "", ",", "ort-cpu,tf"])
def test_unknown_names_are_refused_with_the_known_ones(wanted: str) -> None:
    with pytest.raises(InputError, match=r"unknown engine .*tf-jit"):
        choose_engines(wanted)
