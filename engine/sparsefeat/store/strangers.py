"""What a part holds that this version of sparsefeat doesn't know.

Later versions may add nodes and keys within the format. They are read past; but a part that
has some can't be written anew without losing them.
"""

from sparsefeat.errors import StoreCorruptError
from sparsefeat.store.json_file import read_json
from sparsefeat.store.layout import layer_key
from sparsefeat.store.part import Part
from sparsefeat.store.regular_file import read_refusal
from sparsefeat.store.tables import COLUMNS, INDEX

_GROUPS = ("obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns", "uns/sparsefeat")
_OF_LAYERS = (
    "obsm",
    "uns/sparsefeat/zeros_per_channel",
    "uns/sparsefeat/zeros_per_row",
    "uns/sparsefeat/steps",
)
_OF_CSR = ("data", "indices", "indptr")


def strangers(part: Part) -> list[str]:
    """Name the nodes of a part, and the keys of its header, that are unknown.

    Raises
    ------
    StoreCorruptError
        The metadata are damaged.
    """
    try:
        root = read_json(part.path / "zarr.json")
        nodes = set(root["consolidated_metadata"]["metadata"])
        header = root["attributes"]["sparsefeat"]
        understood = part.header.to_json()
        keys = {key for key in header if key not in understood}
        for entry, layer in zip(header["layers"], part.layers.values(), strict=True):
            keys |= {f"layers.{key}" for key in entry if key not in layer.to_json()}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise read_refusal(part.path / "zarr.json", exc) or StoreCorruptError(
            f"{part.path}/zarr.json is damaged ({exc}), expected what was written: "
            "see sparsefeat verify"
        ) from exc
    known = {*_GROUPS, *_OF_LAYERS, *COLUMNS, f"var/{INDEX}", "uns/sparsefeat/header"}
    known |= {f"{table}/{column}" for table in COLUMNS for column in (INDEX, *COLUMNS[table])}
    for name in part.layers:
        known |= {f"{group}/{layer_key(name)}" for group in _OF_LAYERS}
        known |= {f"obsm/{layer_key(name)}/{array}" for array in _OF_CSR}
    return [*sorted(nodes - known), *sorted(f"the header's {key}" for key in keys)]
