from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sparsefeat.viz.maps.colours import STOPS, ZERO, Colours, extent, interpolated, paint, rgb

ALL: list[Colours] = ["signed", "positive", "negative"]


def seen_by(colours: npt.NDArray[Any], missing: int | None) -> npt.NDArray[np.float64]:
    """Convert colours to what dichromats see (Viénot, Brettel and Mollon 1999), or keep them."""
    linear = (colours / 255.0) ** 2.2
    to_lms = np.array(
        [
            [17.8824, 43.5161, 4.11935],
            [3.45565, 27.1554, 3.86714],
            [0.0299566, 0.184309, 1.46709],
        ]
    )
    lms = linear @ to_lms.T
    if missing == 0:
        lms[..., 0] = 2.02344 * lms[..., 1] - 2.52581 * lms[..., 2]
    if missing == 1:
        lms[..., 1] = 0.494207 * lms[..., 0] + 1.24827 * lms[..., 2]
    rebuilt = np.clip(lms @ np.linalg.inv(to_lms).T, 0, 1)
    seen: npt.NDArray[np.float64] = rebuilt ** (1 / 2.2) * 255
    return seen


@pytest.mark.parametrize("colours", ALL)
@pytest.mark.parametrize("missing", [None, 0, 1], ids=["all", "protanope", "deuteranope"])
def test_the_grey_of_zero_is_not_in_any_scale(colours: Colours, missing: int | None) -> None:
    palette = seen_by(interpolated(STOPS[colours]).astype(float), missing)
    zero = seen_by(np.array(rgb(ZERO), float), missing)
    assert np.linalg.norm(palette - zero, axis=-1).min() > 25


@pytest.mark.parametrize("missing", [None, 0, 1], ids=["all", "protanope", "deuteranope"])
def test_negative_and_positive_colours_differ(missing: int | None) -> None:
    palette = seen_by(interpolated(STOPS["signed"]).astype(float), missing)
    apart = np.linalg.norm(palette[:96] - palette[::-1][:96], axis=-1)
    assert apart.min() > 25


@pytest.mark.parametrize("colours", ALL)
def test_further_from_zero_is_darker(colours: Colours) -> None:
    light = interpolated(STOPS[colours]) @ np.array([0.2126, 0.7152, 0.0722])
    middle = {"signed": 127, "positive": 0, "negative": 255}[colours]
    # Rounding to 8 bits makes steps of at most 1.
    assert (np.diff(light[middle + 1 :]) <= 1).all()
    assert (np.diff(light[:middle]) >= -1).all()
    assert light[[0, -1]].min() < 60 < 220 < light[middle]


def test_values_are_painted_by_their_scale() -> None:
    values = np.array([[-9.0, -2.0, -1e-30, 0.0, 1e-30, 2.0, 9.0]], np.float32)
    painted = paint(values, "signed", 2.0)[0]
    palette = interpolated(STOPS["signed"])
    assert painted[3].tolist() == list(rgb(ZERO))
    assert (painted[:2] == palette[0]).all()
    assert (painted[5:] == palette[255]).all()
    assert (painted[2] == painted[4]).all()
    assert extent("positive", 3.0) == (0.0, 3.0)
    assert extent("negative", 3.0) == (-3.0, 0.0)
