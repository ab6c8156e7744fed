import numpy as np
import pytest

from sparsefeat.errors import InputError

from .made import made, noise


def test_stages_choose_the_panels() -> None:
    pre = noise(4, 6, 3)
    post = np.maximum(pre, 0)
    both = made(pre).panels()
    assert [(one.title, one.source, one.part) for one in both] == [
        ("before ReLU", "pre", "all"),
        ("after ReLU", "pre", "positive"),
    ]
    np.testing.assert_array_equal(both[0].values, pre)
    np.testing.assert_array_equal(both[1].values, post)
    (before,) = made(pre, stage="pre").panels()
    assert before.values is pre
    (after,) = made(pre, stage="post").panels()
    assert (after.source, after.part) == ("post", "all")
    (pool,) = made(pre, stage="post", rectified=False).panels()
    assert pool.title == "output"


def test_an_output_that_differs_from_the_rectified_pre_activation_is_shown() -> None:
    pre = noise(4, 6, 3)
    _, after = made(pre, post=np.maximum(pre, 0) * 2).panels()
    assert (after.source, after.part) == ("post", "all")


def test_kept_and_clipped_values_add_up_to_the_pre_activation() -> None:
    maps = made()
    kept, clipped = maps.panels(relu_split=True)
    assert maps.pre is not None
    np.testing.assert_array_equal(kept.values + clipped.values, maps.pre)
    np.testing.assert_array_equal(kept.values, maps.post)
    assert (clipped.values <= 0).all()
    with pytest.raises(InputError, match="stage"):
        made(stage="post").panels(relu_split=True)


def test_limits_of_colour_scales_ignore_outliers() -> None:
    values = np.zeros((50, 50, 2), np.float32)
    values.reshape(-1, 2)[:2000, 0] = -np.arange(1, 2001)
    values[0, 0, 1] = 5.0
    # The limits below which 99.9 % of the non-zero values lie.
    (panel,) = made(values, stage="pre").panels()
    assert panel.limits.tolist() == [1999.0, 5.0]
    assert panel.limit(1, "channel") == 5.0
    assert panel.limit(1, "shared") == panel.shared_limit == 1998.0
    (silent,) = made(np.zeros((2, 2, 1), np.float32), stage="post").panels()
    assert silent.shared_limit == 1.0


def test_shares_equal_numpy_s() -> None:
    maps = made()
    assert maps.pre is not None
    assert maps.clipped is not None
    for index in range(5):
        assert maps.zeros[index] == np.mean(maps.post[..., index] == 0)
        assert maps.clipped[index] == np.mean(maps.pre[..., index] < 0)
    # Every channel is 0 at one position before ReLU, which counts as zero but not as clipped.
    np.testing.assert_allclose(maps.zeros - maps.clipped, 1 / 48)
    np.testing.assert_array_equal(maps.zero_mask, maps.post == 0)
    assert maps.zeros[3] == 1.0


def test_the_frame_and_the_json_have_the_same_numbers() -> None:
    maps = made(best="variance", scores=np.arange(5.0)[::-1])
    assert maps.pre is not None
    frame = maps.frame()
    assert frame["channel"].tolist() == [7, 10, 13, 16, 19]
    assert frame["max"].tolist() == maps.post.max(axis=(0, 1)).tolist()
    assert frame["pre_min"].tolist() == maps.pre.min(axis=(0, 1)).tolist()
    assert frame["variance"].tolist() == [4, 3, 2, 1, 0]
    facts = maps.to_json()
    assert facts["shape"] == [6, 8, 22]
    assert facts["channels"][1]["zeros"] == maps.zeros[1]
    assert "clipped" not in made(stage="post").frame()


def test_the_heading_names_layer_image_and_channels() -> None:
    best = made(best="energy", scores=np.arange(5.0)).heading()
    assert best.startswith(
        "cat.jpg · 5 of 22 channels of 6×8, best energy first · VGG16 fp32, weights 000000000000 · "
    )
    whole = made(noise(2, 3, 4), n_channels=4, image="").heading()
    assert whole.startswith("an image · all 4 channels of 2×3 · ")
    assert made(image="a\nb\x1b.jpg").heading().startswith(r"a\nb\x1b.jpg · ")
