"""What a part says about itself: its layers, the settings that made it, where it comes from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from sparsefeat.errors import InputError, StoreCorruptError, StoreError
from sparsefeat.store.bounds import AXES, CHUNK_ELEMENTS, JSON_BYTES, NNZ
from sparsefeat.store.forms import Law, StoredValues
from sparsefeat.store.json_fields import JSON, count, json_mapping, mapping, sequence, text
from sparsefeat.store.layout import FORMAT, is_layer_name
from sparsefeat.store.ranges import NO_NUMBERS, Ranges
from sparsefeat.system.text import one_line
from sparsefeat.types import Layer

MAX_FEATURES = 1 << 31  # column numbers are int32

_NAMES = 6  # of layers in a message; of more, the first few and the last
_SHAPES = 3  # of layers in a message

Encoding: TypeAlias = Literal["csr", "dense"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredLayer:
    """A layer of one part, how it is stored, and the sizes that decided it.

    `measured_rows` rows were compressed both ways, into `csr_bytes` and `dense_bytes`. `values`
    says in what form the values are; None is float32 to the last bit.
    """

    layer: Layer
    encoding: Encoding
    nnz: int
    measured_rows: int
    csr_bytes: int
    dense_bytes: int
    values: StoredValues | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements that are stored."""
        return np.dtype(np.float32) if self.values is None else self.values.dtype

    @property
    def law(self) -> Law | None:
        """How codes give values; None where the values themselves are stored."""
        return None if self.values is None else self.values.law

    def to_json(self) -> dict[str, JSON]:
        """Give the layer's entry in the header."""
        values: dict[str, JSON] = {"values": self.values.to_json()} if self.values else {}
        return {
            "name": self.layer.name,
            "shape": list(self.layer.shape),
            "encoding": self.encoding,
            "nnz": self.nnz,
            "measured": {
                "rows": self.measured_rows,
                "csr_bytes": self.csr_bytes,
                "dense_bytes": self.dense_bytes,
            },
            **values,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, object]) -> Self:
        """Read an entry; `Header.from_json` translates what this raises."""
        measured = mapping(entry["measured"])
        encoding = entry["encoding"]
        if encoding != "csr" and encoding != "dense":
            raise ValueError(f"encoding {encoding!r}")
        shape = tuple(count(extent) for extent in sequence(entry["shape"]))
        if not 0 < len(shape) <= AXES or 0 in shape:
            raise ValueError(f"shape {shape}")
        return cls(
            layer=Layer(name=text(entry["name"]), shape=shape),
            encoding="csr" if encoding == "csr" else "dense",
            nnz=count(entry["nnz"]),
            measured_rows=count(measured["rows"]),
            csr_bytes=count(measured["csr_bytes"]),
            dense_bytes=count(measured["dense_bytes"]),
            values=StoredValues.from_json(entry["values"]) if "values" in entry else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """So many consecutive rows of a part, and how they were made."""

    rows: int
    provenance: dict[str, JSON]

    def to_json(self) -> dict[str, JSON]:
        """Give the origin's entry in the header."""
        return {"rows": self.rows, "provenance": self.provenance}

    @classmethod
    def from_json(cls, entry: Mapping[str, object]) -> Self:
        """Read an entry; `Header.from_json` translates what this raises."""
        return cls(rows=count(entry["rows"]), provenance=json_mapping(entry["provenance"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The part's own account of itself, kept in its root's attributes and in ``uns``.

    `replaces` are the numbers of the parts whose rows this one has taken over, those that these
    had taken over among them: they count no more. `origins` says how its rows were made, in
    their order, where not all of them were made as `provenance` says. `values` is what was asked
    for, as `sparsefeat.store.values.Values` writes it.
    """

    rows: int
    rejected: int
    layers: tuple[StoredLayer, ...]
    settings: dict[str, JSON]
    provenance: dict[str, JSON]
    replaces: Ranges = NO_NUMBERS
    origins: tuple[Origin, ...] = ()
    values: str = "float32"

    @property
    def version(self) -> int:
        """The oldest version of the format whose readers understand the part."""
        needed = [stored.values.version for stored in self.layers if stored.values]
        return max([2 if self.replaces else 1, *needed])

    def to_json(self) -> dict[str, JSON]:
        """Give the header as it is written."""
        further: dict[str, JSON] = {}
        if self.values != "float32":
            further["values"] = self.values
        if self.replaces:
            further["replaces"] = [[*pair] for pair in self.replaces.pairs]
        if self.origins:
            further["origins"] = [origin.to_json() for origin in self.origins]
        return {
            "format": self.version,
            "rows": self.rows,
            "rejected": self.rejected,
            "layers": [stored.to_json() for stored in self.layers],
            "settings": self.settings,
            "provenance": self.provenance,
            **further,
        }

    @classmethod
    def from_json(cls, header: object, *, where: str) -> Self:
        """Read a header from a file that may be anybody's.

        Raises
        ------
        StoreError
            The format is newer than this version of sparsefeat.
        StoreCorruptError
            It is no header.
        """
        try:
            fields = mapping(header)
            version = count(fields["format"])
            if 0 < version <= FORMAT:
                rows, rejected = count(fields["rows"]), count(fields["rejected"])
                if max(rows + 1, rejected) > CHUNK_ELEMENTS:
                    raise ValueError(f"{rows} rows and {rejected} rejects")
                entries = [mapping(entry) for entry in sequence(fields["layers"])]
                read = cls(
                    rows=rows,
                    rejected=rejected,
                    layers=_sound_layers([StoredLayer.from_json(entry) for entry in entries], rows),
                    settings=json_mapping(fields["settings"]),
                    provenance=json_mapping(fields["provenance"]),
                    replaces=_ranges(fields.get("replaces", [])),
                    origins=_origins(fields.get("origins", []), rows),
                    values=text(fields.get("values", "float32")),
                )
                if read.version > version:  # readers of that one would take it for something else
                    raise ValueError(f"format {version} with what needs format {read.version}")
                return read
            if not version:
                raise ValueError("format 0")
        except (KeyError, TypeError, ValueError) as exc:
            raise StoreCorruptError(
                f"{where} has no sound header ({one_line(str(exc))}), expected one of format "
                f"{FORMAT}: see sparsefeat verify"
            ) from exc
        raise StoreError(
            f"{where} is of store format {version}, expected at most {FORMAT}: upgrade sparsefeat"
        )

    def all_origins(self) -> tuple[Origin, ...]:
        """Say how all rows were made, in their order."""
        return self.origins or (Origin(rows=self.rows, provenance=self.provenance),)

    def identity(self) -> dict[str, JSON]:
        """Give what all parts of one store must agree on."""
        return identity([stored.layer for stored in self.layers], self.settings, self.values)


def _sound_layers(layers: Sequence[StoredLayer], rows: int) -> tuple[StoredLayer, ...]:
    """Refuse what no part can be, before memory is allocated for it."""
    names = [stored.layer.name for stored in layers]
    if not names or len(set(names)) < len(names) or not all(map(is_layer_name, names)):
        raise ValueError(f"layers {names}")
    for stored in layers:
        n_features = stored.layer.n_features
        if n_features >= MAX_FEATURES or stored.nnz > min(rows * n_features, NNZ):
            raise ValueError(f"{rows} rows of {n_features} features with {stored.nnz} non-zeros")
    return tuple(layers)


def _ranges(value: object) -> Ranges:
    pairs = []
    for pair in sequence(value):
        first, last = map(count, sequence(pair))
        pairs.append((first, last))
    ranges = Ranges.of(pairs)
    if list(ranges.pairs) != pairs or any(first > last for first, last in pairs):
        raise ValueError(f"got {value!r}, expected ascending ranges")
    return ranges


def _origins(value: object, rows: int) -> tuple[Origin, ...]:
    origins = tuple(Origin.from_json(mapping(entry)) for entry in sequence(value))
    if origins and sum(origin.rows for origin in origins) != rows:
        raise ValueError(f"origins of {sum(origin.rows for origin in origins)} rows")
    return origins


def identity(layers: Sequence[Layer], settings: dict[str, JSON], values: str) -> dict[str, JSON]:
    """Give what all parts of a store with these layers, settings and values must agree on."""
    shapes: dict[str, JSON] = {layer.name: list(layer.shape) for layer in layers}
    return {"layers": shapes, "settings": settings, "values": values}


def plain_json(given: Mapping[str, JSON], *, what: str) -> dict[str, JSON]:
    """Copy a mapping as it will be once written and read again.

    Raises
    ------
    InputError
        It holds something that JSON can't.
    """
    try:
        document = json.dumps(dict(given), allow_nan=False)
        if len(document) > JSON_BYTES // 8:  # a part has both twice, and more besides
            raise ValueError(f"{len(document)} bytes, at most {JSON_BYTES // 8} are read again")
        return json_mapping(json.loads(document))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InputError(
            f"{what} can't be written as JSON ({exc}), expected text, finite numbers, "
            "lists and dicts of them: convert it"
        ) from exc


def differences(got: Mapping[str, JSON], expected: Mapping[str, JSON]) -> list[str]:
    """Say which keys differ, one phrase each, nested keys joined by dots.

    Layers are one phrase, with their names; their shapes follow from size and pooling, and are
    given where nothing else differs.

    Examples
    --------
    >>> differences({"settings": {"pool": "avg"}}, {"settings": {"pool": "none"}})
    ["settings.pool: got 'avg', expected 'none'"]
    >>> differences({"layers": {"fc2": [4096]}}, {"layers": {"fc1": [4096], "fc2": [4096]}})
    ['layers: got fc2, expected fc1, fc2']
    """
    ours, theirs = _flatten(got), _flatten(expected)
    found = [
        f"{key}: got {ours.get(key, 'nothing')}, expected {theirs.get(key, 'nothing')}"
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
    others = [phrase for phrase in found if not phrase.startswith("layers.")]
    our_layers, their_layers = mapping(got.get("layers", {})), mapping(expected.get("layers", {}))
    if our_layers.keys() != their_layers.keys():
        return [f"layers: got {_named(our_layers)}, expected {_named(their_layers)}", *others]
    return others or found[:_SHAPES]


def _named(layers: Mapping[str, object]) -> str:
    names = [*layers]
    if len(names) > _NAMES:
        return f"{', '.join(names[:3])}, ... {names[-1]} ({len(names)} layers)"
    return ", ".join(names) or "none"


def _flatten(mapping: Mapping[str, JSON], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = repr(value)
    return flat
