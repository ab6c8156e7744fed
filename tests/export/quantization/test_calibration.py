import numpy as np

from sparsefeat_export.quantization.calibration import POSITIONS, collect_inputs, exact_outputs
from sparsefeat_export.quantization.stack import Convolution, Pooling, View, convolution, pooled


def stack(generator: np.random.Generator) -> list[Convolution | Pooling]:
    def layer(name: str, collect_inputs: int, units: int) -> Convolution:
        kernel = generator.normal(size=(units, collect_inputs, 3, 3)).astype(np.float32)
        return Convolution(name=name, kernel=kernel, bias=np.zeros(units, dtype=np.float32))

    return [layer("first", 3, 4), Pooling(name="pool"), layer("second", 4, 2)]


def test_moments_of_a_small_view_include_all_its_patches() -> None:
    view = np.random.default_rng(0).integers(0, 256, (2, 5, 7)).astype(np.uint8)
    padded = np.pad(view.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    patches = np.array(
        [padded[:, y : y + 3, x : x + 3].ravel() for y in range(5) for x in range(7)]
    )
    seen = collect_inputs("layer", [view])
    np.testing.assert_allclose(seen.mean, patches.mean(axis=0))
    np.testing.assert_allclose(seen.second, np.cov(patches.T, bias=True), rtol=1e-4, atol=1e-2)


def test_both_networks_are_sampled_at_the_same_positions() -> None:
    stages = stack(np.random.default_rng(0))
    assert isinstance(stages[0], Convolution)
    images = np.random.default_rng(1).integers(0, 256, (3, 64, 48, 3)).astype(np.float32)
    calls: list[None] = []
    exact = exact_outputs(stages, images, passed=lambda: calls.append(None))
    assert len(calls) == 2 * 3
    assert {name: one.shape for name, one in exact.items()} == {
        "first": (3 * POSITIONS, 4),
        "second": (3 * POSITIONS, 2),
    }
    second = stages[2]
    assert isinstance(second, Convolution)
    run = convolution(stages[0].kernel, stages[0].bias)
    views: list[View] = [pooled(run(image.transpose(2, 0, 1))) for image in images]
    assert views[0][0].size > POSITIONS
    seen = collect_inputs("second", views)
    again = (seen.centred + seen.mean) @ second.kernel.reshape(2, -1).T
    np.testing.assert_allclose(exact["second"], again, rtol=1e-3, atol=0.1)


def test_pooling_takes_the_largest_of_each_square_and_drops_an_odd_edge() -> None:
    view = np.arange(2 * 5 * 4).reshape(2, 5, 4).astype(np.float32)
    expected = [[[5, 7], [13, 15]], [[25, 27], [33, 35]]]
    np.testing.assert_array_equal(pooled(view), expected)
