import numpy as np

from sparsefeat_export.quantization.images import with_mirrored


def test_each_view_is_followed_by_its_mirror_image() -> None:
    views = np.random.default_rng(0).normal(size=(3, 4, 5, 3)).astype(np.float32)
    both = with_mirrored(views)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[::2], views)
    for column in range(5):
        np.testing.assert_array_equal(both[1::2, :, column], views[:, :, 4 - column])
