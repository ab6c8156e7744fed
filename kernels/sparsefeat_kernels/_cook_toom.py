"""The matrices of Winograd's convolution, computed exactly by the construction of Cook and Toom."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

TAPS = 3

Matrix = tuple[tuple[Fraction, ...], ...]


class CookToom(NamedTuple):
    """Matrices with ``output @ ((weights @ w) * (input @ x))`` the correlation of x with w.

    With n = len(points) + 1 elements of x: `input` is (n, n), `weights` (n, TAPS) and `output`
    (n - TAPS + 1, n).
    """

    input: Matrix
    weights: Matrix
    output: Matrix


def cook_toom(points: Sequence[Fraction]) -> CookToom:
    """Compute the matrices for distinct interpolation points and the point at infinity.

    Examples
    --------
    >>> cook_toom((Fraction(0), Fraction(1), Fraction(-1))).output
    ((Fraction(1, 1), Fraction(1, 1), Fraction(1, 1), Fraction(0, 1)), \
(Fraction(0, 1), Fraction(1, 1), Fraction(-1, 1), Fraction(1, 1)))
    """
    n_inputs = len(points) + 1
    n_outputs = n_inputs - TAPS + 1
    inputs, weights = [], []
    for point in points:
        others = [other for other in points if other != point]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        inputs.append((*_polynomial(others), Fraction(0)))
        weights.append(tuple(point**power / scale for power in range(TAPS)))
    inputs.append(_polynomial(points))
    weights.append(tuple(Fraction(power == TAPS - 1) for power in range(TAPS)))
    outputs = [
        (*(point**power for point in points), Fraction(power == n_outputs - 1))
        for power in range(n_outputs)
    ]
    return CookToom(tuple(inputs), tuple(weights), tuple(outputs))


def _polynomial(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Give the coefficients, the constant one first, of the monic polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [-root * coefficient for coefficient in coefficients] + [Fraction(0)]
        coefficients = [one + two for one, two in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)
