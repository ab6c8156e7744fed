"""Conditions on a store's rows, in the language of pandas' `DataFrame.query`."""

from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.system import close_matches

if TYPE_CHECKING:
    import pandas as pd


def matching(obs: "pd.DataFrame", condition: str) -> npt.NDArray[np.int64]:
    """Find the lines of a table that a condition holds for: see `Store.where`."""
    from pandas.errors import UndefinedVariableError

    if not isinstance(condition, str) or not condition.strip():
        raise InputError(
            f"got {condition!r} as a condition, expected text such as 'width > 500' (--where)"
        )
    try:
        # `query` would locate rows by whatever comes out, numbers and labels too; so its mask is
        # taken. Without the two dictionaries, @name would be a variable of these functions.
        found = obs.eval(condition, engine="python", local_dict={}, global_dict={})
    except UndefinedVariableError as exc:
        name, columns = str(exc).split("'")[1], ["index", *map(str, obs.columns)]
        likely = close_matches(name, columns) or columns
        _refuse(condition, f"there is no column {name!r}: try {', '.join(likely)}", exc)
    except SyntaxError as exc:
        _refuse(condition, exc.msg, exc)
    except Exception as exc:  # pandas, NumPy, re and Python's parser raise what they like
        _refuse(condition, f"{type(exc).__name__}: {exc}", exc)
    mask = np.asarray(found)
    if mask.shape != (len(obs),) or mask.dtype != np.bool_:
        _refuse(condition, f"it gives {mask.dtype} of shape {mask.shape}, not True or False a row")
    return np.flatnonzero(mask)


def _refuse(condition: str, why: str, cause: Exception | None = None) -> NoReturn:
    shown = condition if len(condition) <= 100 else f"{condition[:100]}..."
    raise InputError(
        f"{shown!r} is no condition on rows ({' '.join(why.split())}), expected one such as "
        "'width > 500 and label == \"cat\"'"
    ) from cause
