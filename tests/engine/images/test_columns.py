"""Values of columns that are kept beside an image."""

import datetime
import decimal
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefeat.errors import InputError
from sparsefeat.images.columns import Columns
from sparsefeat.store.format import TEXT_BYTES, read_extra


def kept(value: object) -> object:
    return json.loads(Columns(keep="x").extra({"x": value})).get("x")


def test_values_are_converted_to_numbers_and_text() -> None:
    assert [kept(value) for value in (None, True, 5, -0.5, "a b\n")] == [
        None,
        True,
        5,
        -0.5,
        "a b\n",
    ]
    assert kept(float("nan")) is None
    assert [kept(float("inf")), kept(2**63), kept(2**63 - 1)] == ["inf", str(2**63), 2**63 - 1]
    assert kept(b"caf\xc3\xa9 \xff") == "caf\u00e9 \ufffd"
    assert kept(["a", {"b": [1]}]) == '["a",{"b":[1]}]'
    assert kept(datetime.date(2024, 2, 3)) == "2024-02-03"
    assert kept(decimal.Decimal("1.10")) == "1.10"
    assert kept("nul\0 half\ud83d \ud83d\ude00") == "nul\ufffd half\ufffd \U0001f600"


def test_recursive_and_deeply_nested_values_become_null() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert kept(loop) is None
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert kept(deep) is None
    while deep:  # freeing the nested list would recurse as deeply
        deep = deep.pop()  # type: ignore[assignment]


def test_long_text_is_cut() -> None:
    assert kept("x" * 3990) == "x" * 3990
    assert kept("x" * 10**6) in ["x" * length for length in range(3990, 3999)]
    cut = kept("\u20ac" * 10**6)
    assert isinstance(cut, str)
    assert 1200 < len(cut) < 1334
    assert set(cut) == {"\u20ac"}


@given(
    st.dictionaries(
        st.sampled_from([f"c{number}" for number in range(32)]),
        st.text(max_size=9).filter(lambda text: "\0" not in text)
        | st.text('\x01\n"\u20ac\U0001f600', max_size=40).map(lambda text: text * 999),
        min_size=1,
    )
)
def test_texts_of_all_columns_are_cut_to_fit_a_store(values: dict[str, object]) -> None:
    text = Columns(keep=list(values)).extra(values)
    assert len(text.encode()) < TEXT_BYTES
    found = read_extra(text)
    assert found.keys() == values.keys()
    assert all(str(values[name]).startswith(str(found[name])) for name in found)


@pytest.mark.parametrize(
    "names",
    [
        "width",
        "a,path",
        ["a/b"],
        ["x" * 101],
        ["a\nb"],
        ["\ud800"],
        [7],
        [f"c{n}" for n in range(33)],
    ],
)
def test_invalid_names_of_columns_are_refused(names: str) -> None:
    with pytest.raises(InputError, match="expected") as told:
        Columns(keep=names)
    assert len(str(told.value).splitlines()) == 1


def test_the_label_is_the_first_column_that_has_one() -> None:
    assert Columns().label_of({"class": 3, "label": "50%"}) == "50%25"
    assert Columns().label_of({"label": None, "cls": 3}) == "3"
    assert Columns().label_of({"kind": "x"}) is None
    columns = Columns("kind", "note")
    assert [*columns.unmatched] == [("label-column", "kind"), ("keep", "note")]
    assert columns.label_of({"label": "a", "kind": ["x", 1]}) == '["x",1]'
    assert [*columns.unmatched] == [("keep", "note")]
    assert len(Columns("kind").label_of({"kind": "y" * 999}) or "") == 200
