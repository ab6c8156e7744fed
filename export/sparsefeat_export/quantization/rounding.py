"""Weights to whole scales, with the error of each made up for by the weights still to come.

This is the column-by-column scheme of optimal brain surgeon as GPTQ (Frantar et al., 2022)
arranges it: with H the second moments of a layer's input, an error in one weight is spread over
those not yet rounded so that the layer's output changes least.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LIMIT = 127  # symmetric, so that zero is exact and no product overflows
DAMPING = 0.1  # of the mean of H's diagonal: what a few images say of it is not trusted
BLOCK = 128
SHRINKING = np.linspace(1.0, 0.5, 11)


def round_to_nearest(weights: Floats, scales: Floats) -> Floats:
    """Round each weight, (units, inputs), to the nearest whole number of its unit's scales."""
    whole: Floats = np.clip(np.rint(weights / scales[:, None]), -LIMIT, LIMIT)
    return whole


def choose_weight_scales(weights: Floats, moments: Floats) -> Floats:
    """Choose each unit's scale, clipping its largest weights where that costs less: (units,).

    The cost of an error is weighted by the second moment of the input it meets.
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
    """Round to whole scales so that the layer's output on its calibration input changes least.

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
    Two inputs that are always equal: what the first weight loses, the second gains.

    >>> moments = np.array([[1.0, 1.0], [1.0, 1.0]])
    >>> compensated(np.array([[0.4, 0.4]]), np.array([1.0]), moments)
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
    """Upper Cholesky factor of the inverse of damped moments, which are overwritten.

    Each scale writes over the one before: of a layer with 9216 inputs they are 680 MB.
    """
    from scipy import linalg

    moments[np.diag_indices_from(moments)] += DAMPING * moments.diagonal().mean() + 1e-9
    options = {"lower": False, "overwrite_a": True, "check_finite": False}
    # The transpose, because LAPACK wants columns side by side: of what is symmetric, it's the same.
    upper = linalg.cholesky(moments.T, **options)
    inverse, _ = linalg.lapack.dpotri(upper, lower=0, overwrite_c=1)  # only its upper triangle
    factor: Floats = linalg.cholesky(inverse, **options)
    return factor
