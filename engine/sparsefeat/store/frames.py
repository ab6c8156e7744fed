"""A store's tables as pandas frames."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsefeat.dependencies import importing
from sparsefeat.store.part import Part
from sparsefeat.store.tables import COLUMNS, INDEX

if TYPE_CHECKING:
    import pandas as pd


def read_frame(parts: Sequence[Part], table: str) -> "pd.DataFrame":
    """Read one table of all parts, indexed by row id."""
    with importing("pandas"):
        import pandas as pd

    tables = [part.table(table) for part in parts]
    columns: dict[str, list[object]] = {
        column: [value for read in tables for value in read[column].tolist()]
        for column in (INDEX, *COLUMNS[table])
    }
    index = pd.Index(columns.pop(INDEX), dtype=object)
    return pd.DataFrame(
        {
            column: pd.Series(values, index, "int64" if COLUMNS[table][column] is int else object)
            for column, values in columns.items()
        },
        index=index,
    )


def unresolved(rejected: "pd.DataFrame", obs: "pd.DataFrame") -> "pd.DataFrame":
    """Leave out rejects that were tried again: with success, or with a later reason."""
    import pandas as pd

    tried = pd.MultiIndex.from_frame(_identities(rejected))
    last = ~tried.duplicated(keep="last")
    return rejected[last & ~tried.isin(pd.MultiIndex.from_frame(_identities(obs)))]


def _identities(table: "pd.DataFrame") -> "pd.DataFrame":
    """Tell pictures apart: by where they lie, their size and time."""
    places = table["root"].str.rstrip("/") + "/" + table["path"]
    return table[["bytes", "mtime_ns"]].assign(place=places)
