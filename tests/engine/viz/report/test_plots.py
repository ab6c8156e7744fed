import numpy as np

from sparsefeat.viz.report.plots import activity_counts, block_means


def test_shares_of_exactly_0_and_1_are_counted_separately() -> None:
    shares = np.array([0, 0, 1e-9, 0.05, 0.1, 0.1999, 0.95, 1 - 1e-9, 1, 1, 1])
    counts = activity_counts(shares).tolist()
    assert counts == [2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 2, 3]
    assert activity_counts(np.array([])).tolist() == [0] * 12


def test_blocks_are_averaged_also_at_the_edges() -> None:
    shares = np.random.default_rng(0).random((7, 5))
    means = block_means(shares, 3)
    assert means.shape == (3, 2)
    for row in range(3):
        for column in range(2):
            block = shares[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            np.testing.assert_allclose(means[row, column], block.mean())
    np.testing.assert_allclose(block_means(shares, 1), shares)
