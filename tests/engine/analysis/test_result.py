import json
from dataclasses import replace
from statistics import quantiles

import numpy as np
import pandas as pd
import pytest

import sparsefeat
from sparsefeat import InputError
from sparsefeat.analysis import compare_shares, correlate


@pytest.fixture(scope="module")
def found(store: sparsefeat.Store) -> sparsefeat.Sparsity:
    return sparsefeat.analyse(store, flatness=True)


def test_frames_have_the_numbers_that_numpy_computes(
    found: sparsefeat.Sparsity, store: sparsefeat.Store
) -> None:
    for name, layer in store.layers.items():
        x = store[name].to_numpy()
        line = found.layers.loc[name]
        shares = (x == 0).mean(axis=tuple(range(1, x.ndim)))
        assert line["zeros"] == np.mean(x == 0)
        assert line["std"] == pytest.approx(shares.std(ddof=1), abs=1e-15)
        assert line["min"] == shares.min()
        quartiles = [line[word] for word in ("lower_quartile", "median", "upper_quartile")]
        expected = quantiles(shares.tolist(), method="inclusive")
        assert quartiles == pytest.approx(expected, abs=1e-15)
        assert line["shape"] == "x".join(map(str, layer.shape))
        assert found.images[name].tolist() == shares.tolist()
        by_channel = x.reshape(len(x), -1, layer.n_channels)
        channels = found.channels(name)
        assert channels["dead"].tolist() == (by_channel == 0).all(axis=(0, 1)).tolist()
        assert channels["always_on"].tolist() == (by_channel != 0).any(axis=1).all(axis=0).tolist()
        assert channels["never_zero"].tolist() == (by_channel != 0).all(axis=(0, 1)).tolist()
        for word in ("dead", "always_on", "never_zero"):
            assert line[word] == channels[word].sum()
        assert found.positions(name).to_numpy().tolist() == (x == 0).mean(axis=(0, 3)).tolist()


def test_labels_are_summarized_and_compared(found: sparsefeat.Sparsity) -> None:
    shares = found.images
    for line in found.labels.to_dict("records"):
        chosen = shares.loc[shares["label"] == line["label"], str(line["layer"])]
        assert line["images"] == 2
        assert line["zeros"] == pytest.approx(chosen.mean())
        assert line["std"] == pytest.approx(chosen.std())
    differences = found.compare_labels()
    assert [each.layer for each in differences] == list(found.counts)
    first = differences[0]
    assert (first.name, first.baseline) == ("things", "animals")
    groups = [
        shares.loc[shares["label"] == label, first.layer].to_numpy()
        for label in ("things", "animals")
    ]
    assert first == compare_shares(*groups, layer=first.layer, name="things", baseline="animals")
    one = replace(found, obs=found.obs.assign(label="all"))
    with pytest.raises(InputError, match="1 label"):
        one.compare_labels()


def test_sets_with_other_settings_are_not_compared(found: sparsefeat.Sparsity) -> None:
    same = found.compare(replace(found, source="again"))
    # Nothing is zero before ReLU, so all images have the same share.
    for each in same:
        spread = not each.layer.endswith("/pre")
        assert each.verdict == ("no difference shown" if spread else "too few images")
    assert {each.difference for each in same} == {0.0}
    other = replace(found, settings={**found.settings, "pool": "max"})
    with pytest.raises(InputError, match="pool"):
        found.compare(other)


def test_correlations_are_computed_from_the_frame(found: sparsefeat.Sparsity) -> None:
    correlations = found.correlations()
    assert list(correlations) == list(found.counts)
    for measure in ("flat_share", "log_variance"):
        expected = correlate(
            found.images[measure].to_numpy(), found.images["block4_pool"].to_numpy()
        )
        assert correlations["block4_pool"][measure] == expected


def test_the_json_is_valid_and_complete(found: sparsefeat.Sparsity) -> None:
    facts = found.to_json()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    layer = facts["layers"]["block4_pool"]
    assert layer["zeros"] == layer["n_zeros"] / layer["n_elements"]
    assert sum(layer["zeros_per_channel"]) == layer["n_zeros"]
    assert np.sum(layer["zeros_per_position"]) == layer["n_zeros"]
    assert facts["images"][1]["path"] == "animals/chelsea.png"
    assert facts["images"][1]["zeros"]["block4_pool"] == found.images["block4_pool"].iloc[1]
    assert facts["rejected"][0]["path"] == "things/notes.jpg"
    short = found.to_json(channels=False, positions=False)["layers"]["block4_pool"]
    assert layer.keys() - short.keys() == {
        "zeros_per_channel",
        "active_images_per_channel",
        "zeros_per_position",
    }


def test_a_set_without_images_has_empty_results(
    found: sparsefeat.Sparsity, extractor: sparsefeat.Extractor
) -> None:
    empty = sparsefeat.analyse([], extractor=extractor)
    assert empty.n_images == 0
    assert empty.layers["zeros"].isna().all()
    assert empty.images.empty
    assert empty.labels.empty
    assert json.dumps(empty.to_json(), allow_nan=False)
    assert empty.compare(found) == []
    with pytest.raises(InputError, match="0 label"):
        empty.compare_labels()
    assert isinstance(empty.channels("block4_pool"), pd.DataFrame)
