import numpy as np
import pytest

from sparsefeat.errors import InputError
from sparsefeat.viz.maps.panels import panels

from .made import made, noise


def test_stages() -> None:
    pre = noise(4, 6, 3)
    post = np.maximum(pre, 0)
    both = panels(pre, post, stage="both", relu_split=False)
    assert [(one.title, one.source, one.part) for one in both] == [
        ("before ReLU", "pre", "all"),
        ("after ReLU", "pre", "positive"),
    ]
    np.testing.assert_array_equal(both[0].values, pre)
    np.testing.assert_array_equal(both[1].values, post)
    (before,) = panels(pre, post, stage="pre", relu_split=False)
    assert before.values is pre
    (after,) = panels(None, post, stage="post", relu_split=False)
    assert (after.source, after.part) == ("post", "all")
    (pool,) = panels(None, post, stage="post", relu_split=False, rectified=False)
    assert pool.title == "output"


def test_an_output_that_is_not_the_rectified_pre_activation_is_shown_itself() -> None:
    pre = noise(4, 6, 3)
    after = panels(pre, np.maximum(pre, 0) * 2, stage="both", relu_split=False)[1]
    assert (after.source, after.part) == ("post", "all")


def test_what_relu_keeps_and_clips_is_all_there_is() -> None:
    maps = made()
    kept, clipped = maps.panels(relu_split=True)
    assert maps.pre is not None
    np.testing.assert_array_equal(kept.values + clipped.values, maps.pre)
    np.testing.assert_array_equal(kept.values, maps.post)
    assert (clipped.values <= 0).all()
    with pytest.raises(InputError, match="stage"):
        made(stage="post").panels(relu_split=True)


def test_limits() -> None:
    values = np.zeros((50, 50, 2), np.float32)
    values.reshape(-1, 2)[:2000, 0] = -np.arange(1, 2001)
    values[0, 0, 1] = 5.0
    # 99.9 % of 2,000 values other than zero, and of 2,001 in both channels, lie below.
    (panel,) = panels(values, values, stage="pre", relu_split=False)
    assert panel.limits.tolist() == [1999.0, 5.0]
    assert panel.limit(1, "channel") == 5.0
    assert panel.limit(1, "shared") == panel.shared_limit == 1998.0
    silent = panels(None, np.zeros((2, 2, 1), np.float32), stage="post", relu_split=False)[0]
    assert silent.shared_limit == 1.0
