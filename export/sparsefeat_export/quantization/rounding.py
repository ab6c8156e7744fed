"""Round weights to integers, compensating the error of each with the weights not yet rounded.

This is GPTQ (Frantar et al., 2022), a column-by-column form of optimal brain surgeon: with H the
second moments of a layer's input, the error of one weight is distributed over the weights not yet
rounded so that the layer's output changes least.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LIMIT = 127  # symmetric, so that zero is exact and no product overflows
DAMPING = 0.1  # relative to the mean of H's diagonal, since few images estimate H poorly
BLOCK = 128
SHRINKING = np.linspace(1.0, 0.5, 11)


def round_to_nearest(weights: Floats, scales: Floats) -> Floats:
    """Quantize weights (units, inputs) by their units' scales (units,), rounding to nearest."""
    whole: Floats = np.clip(np.rint(weights / scales[:, None]), -LIMIT, LIMIT)
    return whole


def choose_weight_scales(weights: Floats, moments: Floats) -> Floats:
    """Choose the scale of each unit, (units,), clipping the largest weights if that is better.

    The squared error of each weight is weighted by the second moment of its input.
    """
    largest = np.abs(weights).max(axis=1)
    largest[largest == 0] = 1.0
    importance = moments.diagonal()
    chosen: Floats = largest / LIMIT
    least = np.full(len(weights), np.inf)
    for share in SHRINKING:
        scales = largest * share / LIMIT
        error = round_to_nearest(weights, scales) * scales[:, None] - weights
        cost = np.square(error) @ importance
        chosen = np.asarray(np.where(cost < least, scales, chosen), dtype=np.float64)
        least = np.minimum(cost, least)
    return chosen


def round_with_compensation(weights: Floats, scales: Floats, moments: Floats) -> Floats:
    """Quantize weights so that the layer's output for its calibration input changes least.

    Parameters
    ----------
    weights
        (units, inputs).
    scales
        (units,).
    moments
        Second moments of the centred input, (inputs, inputs).

    Returns
    -------
    array
        Whole numbers from -127 to 127, (units, inputs).

    Examples
    --------
    For two inputs that are always equal, the second weight gains what the first one loses.

    >>> moments = np.array([[1.0, 1.0], [1.0, 1.0]])
    >>> round_with_compensation(np.array([[0.4, 0.4]]), np.array([1.0]), moments)
    array([[0., 1.]])
    """
    order = np.argsort(-moments.diagonal(), kind="stable")
    left = weights[:, order]
    factor = _inverse_factor(moments[np.ix_(order, order)])
    rounded = np.empty_like(left)
    for start in range(0, left.shape[1], BLOCK):
        stop = min(start + BLOCK, left.shape[1])
        errors = np.empty((len(left), stop - start))
        for index in range(start, stop):
            column = left[:, index]
            rounded[:, index] = np.clip(np.rint(column / scales), -LIMIT, LIMIT)
            error = (column - rounded[:, index] * scales) / factor[index, index]
            left[:, index:stop] -= np.outer(error, factor[index, index:stop])
            errors[:, index - start] = error
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    unordered = np.empty_like(rounded)
    unordered[:, order] = rounded
    return unordered


def _inverse_factor(moments: Floats) -> Floats:
    """Return the upper Cholesky factor of the inverse of the damped moments, overwriting them.

    Each operation works in place: for a layer with 9216 inputs, the moments take 680 MB.
    """
    from scipy import linalg

    moments[np.diag_indices_from(moments)] += DAMPING * moments.diagonal().mean() + 1e-9
    options = {"lower": False, "overwrite_a": True, "check_finite": False}
    # LAPACK expects column-major order; the transpose provides it, and the matrix is symmetric.
    upper = linalg.cholesky(moments.T, **options)
    inverse, _ = linalg.lapack.dpotri(upper, lower=0, overwrite_c=1)  # writes the upper triangle
    factor: Floats = linalg.cholesky(inverse, **options)
    return factor
