"""The result of an analysis: the zeros of a set of images, as pandas frames."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefeat.analysis.counts import LayerZeros
from sparsefeat.analysis.statistics import Correlation, Difference, compare_shares, correlate
from sparsefeat.errors import InputError, LayerError
from sparsefeat.store import differences
from sparsefeat.system import counted
from sparsefeat.types import Reject, split_failures

if TYPE_CHECKING:
    import pandas as pd

FLATNESS = ("flat_share", "log_variance")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sparsity:
    """The zeros of some layers over a set of images; `analyse` returns it.

    Attributes
    ----------
    source
        The name of the set: a folder or a store.
    counts
        A `LayerZeros` for each layer.
    obs
        pandas frame with a line for each image, in the order of the counts: `path`, `root`,
        `label`, `width`, `height`, `sha256`, ...; and `flat_share` and `log_variance` if flatness
        was measured (see `sparsefeat.analysis.Flatness`).
    rejects
        The images that could not be read, with the reason.
    settings
        Model, pooling, preprocessing and size. Two sets can be compared if their settings are
        equal.
    unmeasured
        For a store: the number of images whose flatness could not be measured, for each reason.
        Their flatness is NaN.

    Examples
    --------
    >>> import sparsefeat
    >>> sparsity = sparsefeat.analyse("photos/", extractor=sparsefeat.Extractor("vgg16.onnx"))
    >>> bool(sparsity.layers.loc["block5_pool", "zeros"] > 0.8)
    True
    """

    source: str
    counts: dict[str, LayerZeros]
    obs: "pd.DataFrame"
    rejects: tuple[Reject, ...]
    settings: dict[str, Any]
    unmeasured: dict[str, int] = field(default_factory=dict)

    @property
    def n_images(self) -> int:
        """Number of images that were read."""
        return len(self.obs)

    @property
    def has_flatness(self) -> bool:
        """Whether flatness was measured."""
        return FLATNESS[0] in self.obs

    @property
    def layers(self) -> "pd.DataFrame":
        """A pandas frame with a line for each layer.

        Columns: `shape`; `images`; `zeros` (share of all elements, 0 to 1); `std`, `min`,
        `lower_quartile`, `median`, `upper_quartile` and `max` of the images' shares; `channels`;
        and the number of channels that are `dead`, `always_on` (NA if not counted) and
        `never_zero`.
        """
        import pandas as pd

        lines = []
        for zeros in self.counts.values():
            spread = dataclasses.asdict(zeros.spread)
            del spread["mean"]  # equals `zeros`, except for rounding
            always_on = zeros.always_on
            lines.append(
                {
                    "shape": "x".join(map(str, zeros.shape)),
                    "images": zeros.n_rows,
                    "zeros": zeros.sparsity,
                    **spread,
                    "channels": zeros.layer.n_channels,
                    "dead": len(zeros.dead),
                    "always_on": None if always_on is None else len(always_on),
                    "never_zero": len(zeros.never_zero),
                }
            )
        frame = pd.DataFrame(lines, index=pd.Index(list(self.counts), name="layer"))
        shares = ("zeros", "std", "min", "lower_quartile", "median", "upper_quartile", "max")
        return frame.astype({**dict.fromkeys(shares, "float64"), "always_on": "Int64"})

    @property
    def images(self) -> "pd.DataFrame":
        """A pandas frame with a line for each image.

        Columns: `path`, `label`, the flatness if it was measured, and the share of zeros in each
        layer.
        """
        import pandas as pd

        shares = {name: zeros.row_sparsity for name, zeros in self.counts.items()}
        named = self.obs[["path", "label", *(FLATNESS if self.has_flatness else ())]]
        return pd.concat([named, pd.DataFrame(shares, index=self.obs.index)], axis=1)

    @property
    def labels(self) -> "pd.DataFrame":
        """A pandas frame with a line for each layer and label.

        Columns: `layer`, `label`, `images`, and `zeros` (mean), `std`, `min` and `max` of the
        images' shares.
        """
        import pandas as pd

        labels = self.obs["label"].to_numpy()
        columns = ["images", "zeros", "std", "min", "max"]
        frames = {
            name: pd.Series(zeros.row_sparsity)
            .groupby(labels)
            .agg(["size", "mean", "std", "min", "max"])
            .set_axis(columns, axis="columns")
            for name, zeros in self.counts.items()
        }
        return pd.concat(frames, names=["layer", "label"]).reset_index()

    def channels(self, layer: str) -> "pd.DataFrame":
        """Return a pandas frame with a line for each channel of a layer.

        Columns: `zeros` (share, 0 to 1); `active_images`, the number of images in which the
        channel is active at one position or more (NA if not counted); `dead`; `always_on` (NA if
        not counted); `never_zero`.

        Raises
        ------
        LayerError
            The layer wasn't counted.
        """
        import pandas as pd

        zeros = self._zeros(layer)
        index = pd.RangeIndex(zeros.layer.n_channels, name="channel")
        columns: dict[str, Any] = {"zeros": zeros.channel_sparsity}
        columns["active_images"] = pd.array(
            [None] * len(index) if zeros.active_rows is None else zeros.active_rows, dtype="Int64"
        )
        for word in ("dead", "always_on", "never_zero"):
            numbers = getattr(zeros, word)
            flags = [None] * len(index) if numbers is None else np.isin(index, numbers)
            columns[word] = pd.array(flags, dtype="boolean")
        return pd.DataFrame(columns, index=index)

    def positions(self, layer: str) -> "pd.DataFrame":
        """Return the share of zeros at each position of a layer, as a frame of H rows, W columns.

        Raises
        ------
        LayerError
            The layer wasn't counted, wasn't counted by position, or has no positions.
        """
        import pandas as pd

        zeros = self._zeros(layer)
        shares = zeros.position_sparsity
        if shares is None:
            why = "has no positions" if len(zeros.shape) == 1 else "wasn't counted by position"
            raise LayerError(f"{layer} {why}, expected a layer of shape (H, W, C): name another")
        height, width = shares.shape
        return pd.DataFrame(
            shares,
            index=pd.RangeIndex(height, name="row"),
            columns=pd.RangeIndex(width, name="column"),
        )

    def correlations(self) -> dict[str, dict[str, Correlation]]:
        """Correlate the images' shares of zeros with their flatness.

        Returns
        -------
        dict
            A `Correlation` for each layer and each measure of flatness; empty if flatness wasn't
            measured.
        """
        if not self.has_flatness:
            return {}
        measures = {name: self.obs[name].to_numpy(np.float64) for name in FLATNESS}
        return {
            name: {
                measure: correlate(values, zeros.row_sparsity)
                for measure, values in measures.items()
            }
            for name, zeros in self.counts.items()
        }

    def compare(self, baseline: "Sparsity") -> list[Difference]:
        """Compare with another set of images, for each layer that both sets have.

        Raises
        ------
        InputError
            The two sets were made with different models or settings.
        """
        if different := differences(self.settings, baseline.settings):
            raise InputError(
                f"{self.source} and {baseline.source} were made with different settings "
                f"({'; '.join(different)}): extract one of them again with the other's settings"
            )
        found = [
            compare_shares(
                zeros.row_sparsity,
                baseline.counts[name].row_sparsity,
                layer=name,
                name=self.source,
                baseline=baseline.source,
            )
            for name, zeros in self.counts.items()
            if name in baseline.counts
        ]
        return [each for each in found if each is not None]

    def compare_labels(self) -> list[Difference]:
        """Compare the images of each label with those of the first label, for each layer.

        Raises
        ------
        InputError
            There are fewer than two labels.
        """
        label_of = self.obs["label"].to_numpy()
        labels = sorted(set(label_of.tolist()))
        if len(labels) < 2:
            raise InputError(
                f"{self.source} has images of {counted(len(labels), 'label')}, expected at least "
                "two: a label is the name of the folder that holds an image"
            )
        found: list[Difference | None] = []
        for name, zeros in self.counts.items():
            shares = zeros.row_sparsity
            baseline = shares[label_of == labels[0]]
            found += [
                compare_shares(
                    shares[label_of == label], baseline, layer=name, name=label, baseline=labels[0]
                )
                for label in labels[1:]
            ]
        return [each for each in found if each is not None]

    def to_json(self, *, channels: bool = True, positions: bool = True) -> dict[str, Any]:
        """Return all results as values that JSON can hold.

        Parameters
        ----------
        channels, positions
            Whether to include the zeros of every channel, and at every position.
        """
        correlations = self.correlations()
        rejected, failed = split_failures(self.rejects)
        layers = {}
        for name, zeros in self.counts.items():
            facts = layer_facts(zeros, channels=channels, positions=positions)
            if name in correlations:
                facts["with_flatness"] = {
                    measure: dataclasses.asdict(found)
                    for measure, found in correlations[name].items()
                }
            layers[name] = facts
        return {
            "source": self.source,
            "n_images": self.n_images,
            "settings": self.settings,
            "layers": layers,
            "images": [_image(line) for line in self.images.to_dict("records")],
            "flatness_unmeasured": self.unmeasured,
            "rejected": [{"path": each.path, "reason": each.reason} for each in rejected],
            "failed": [{"path": each.path, "reason": each.reason} for each in failed],
        }

    def _zeros(self, layer: str) -> LayerZeros:
        if layer not in self.counts:
            raise LayerError(
                f"layer {layer!r} wasn't counted, expected one of {', '.join(self.counts)}: add it "
                "to layers"
            )
        return self.counts[layer]


def layer_facts(
    zeros: LayerZeros, *, channels: bool = True, positions: bool = True
) -> dict[str, Any]:
    """Return one layer's counts as values that JSON can hold.

    Channels are numbered from 0.

    Parameters
    ----------
    zeros
        The counts.
    channels, positions
        Whether to include the zeros of every channel, and at every position; they are None if
        they weren't counted.
    """
    facts = {
        "shape": list(zeros.shape),
        "n_elements": zeros.n_elements,
        "n_zeros": zeros.n_zeros,
        "zeros": zeros.sparsity,
        "over_images": dataclasses.asdict(zeros.spread),
        "dead": zeros.dead.tolist(),
        "always_on": _listed(zeros.always_on),
        "never_zero": zeros.never_zero.tolist(),
    }
    if channels:
        facts["zeros_per_channel"] = zeros.per_channel.tolist()
        facts["active_images_per_channel"] = _listed(zeros.active_rows)
    if positions:
        facts["zeros_per_position"] = _listed(zeros.per_position)
    return facts


def _image(line: dict[Any, Any]) -> dict[str, Any]:
    """Move the layers' shares below one key, and replace NaN, which JSON lacks, by None."""
    plain = {
        str(key): None if isinstance(value, float) and math.isnan(value) else value
        for key, value in line.items()
    }
    known = [key for key in ("path", "label", *FLATNESS) if key in plain]
    named = {key: plain.pop(key) for key in known}
    return {**named, "zeros": plain}


def _listed(counts: "np.ndarray[Any, Any] | None") -> Any:
    return None if counts is None else counts.tolist()
