"""What was found out about the zeros of a set of images, as frames."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefeat.analysis.counts import Float64, LayerZeros
from sparsefeat.analysis.statistics import Correlation, Difference, compare_shares, correlate
from sparsefeat.errors import InputError, LayerError
from sparsefeat.store import differences
from sparsefeat.types import Reject, split_failures

if TYPE_CHECKING:
    import pandas as pd

FLATNESS = ("flat_share", "log_variance")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sparsity:
    """The zeros of some layers over a set of images.

    Attributes
    ----------
    source
        What the images are called: a folder, a store.
    counts
        For each layer its `LayerZeros`.
    obs
        pandas: one line for each image, in the order of the counts; `path`, `root`, `label`,
        `width`, `height`, `sha256`, ...; and, where they were measured, `flat_share` and
        `log_variance` (see `sparsefeat.analysis.Flatness`).
    rejects
        Images that could not be read, and why.
    settings
        What decides the numbers: model, pooling, preprocessing, size. Two sets are only compared
        where it is the same.
    unmeasured
        Of a store: why the flatness of images could not be measured, and of how many. It is NaN
        for them.

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
        """Whether the images' flatness was measured."""
        return FLATNESS[0] in self.obs

    @property
    def layers(self) -> "pd.DataFrame":
        """One line for each layer.

        `shape`, `images`, `zeros` (share, 0 to 1, over everything), `std`, `min`,
        `lower_quartile`, `median`, `upper_quartile`, `max` (of the images' shares), `channels`,
        and how many of them are `dead`, `always_on` (NA where that wasn't counted), `never_zero`.
        """
        import pandas as pd

        lines = []
        for zeros in self.counts.values():
            spread = dataclasses.asdict(zeros.spread)
            del spread["mean"]  # the same number as `zeros`, but for rounding
            always_on = zeros.always_on
            lines.append(
                {
                    "shape": "x".join(map(str, zeros.shape)),
                    "images": zeros.n_rows,
                    "zeros": zeros.share,
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
        """One line for each image: `path`, `label`, its flatness, its share of zeros by layer."""
        import pandas as pd

        shares = {name: zeros.row_shares for name, zeros in self.counts.items()}
        named = self.obs[["path", "label", *(FLATNESS if self.has_flatness else ())]]
        return pd.concat([named, pd.DataFrame(shares, index=self.obs.index)], axis=1)

    @property
    def labels(self) -> "pd.DataFrame":
        """One line for each layer and label: `images`, and mean and spread of their shares."""
        import pandas as pd

        labels = self.obs["label"].to_numpy()
        columns = ["images", "zeros", "std", "min", "max"]
        frames = {
            name: pd.Series(zeros.row_shares)
            .groupby(labels)
            .agg(["size", "mean", "std", "min", "max"])
            .set_axis(columns, axis="columns")
            for name, zeros in self.counts.items()
        }
        return pd.concat(frames, names=["layer", "label"]).reset_index()

    def channels(self, layer: str) -> "pd.DataFrame":
        """One line for each channel of a layer, in their order.

        `zeros` (share, 0 to 1), `active_images` (in how many it is active at one position or
        more, NA where that wasn't counted), `dead`, `always_on` (NA likewise), `never_zero`.

        Raises
        ------
        LayerError
            It wasn't counted.
        """
        import pandas as pd

        zeros = self._zeros(layer)
        index = pd.RangeIndex(zeros.layer.n_channels, name="channel")
        columns: dict[str, Any] = {"zeros": zeros.channel_shares}
        columns["active_images"] = pd.array(
            [None] * len(index) if zeros.active_rows is None else zeros.active_rows, dtype="Int64"
        )
        for word in ("dead", "always_on", "never_zero"):
            numbers = getattr(zeros, word)
            flags = [None] * len(index) if numbers is None else np.isin(index, numbers)
            columns[word] = pd.array(flags, dtype="boolean")
        return pd.DataFrame(columns, index=index)

    def positions(self, layer: str) -> "pd.DataFrame":
        """Share of zeros at each position of a layer: rows and columns as in the image.

        Raises
        ------
        LayerError
            The layer wasn't counted, or not by position, or it has none.
        """
        import pandas as pd

        zeros = self._zeros(layer)
        shares = zeros.position_shares
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
        For each layer and each measure of flatness a `Correlation`; empty where flatness wasn't
        measured.
        """
        if not self.has_flatness:
            return {}
        measures = {name: self.obs[name].to_numpy(np.float64) for name in FLATNESS}
        return {
            name: {
                measure: correlate(values, zeros.row_shares) for measure, values in measures.items()
            }
            for name, zeros in self.counts.items()
        }

    def compare(self, baseline: "Sparsity") -> list[Difference]:
        """Compare with another set of images, layer by layer, for layers that both have.

        Raises
        ------
        InputError
            They were made with different models or settings: their numbers don't compare.
        """
        if different := differences(self.settings, baseline.settings):
            raise InputError(
                f"{self.source} and {baseline.source} were made with other settings "
                f"({'; '.join(different)}), expected the same: extract one of them anew"
            )
        found = [
            _difference(
                name,
                (self.source, zeros.row_shares),
                (baseline.source, baseline.counts[name].row_shares),
            )
            for name, zeros in self.counts.items()
            if name in baseline.counts
        ]
        return [each for each in found if each is not None]

    def compare_labels(self) -> list[Difference]:
        """Compare the images of each label with those of the first one, layer by layer.

        Raises
        ------
        InputError
            There are no two labels.
        """
        labels = sorted(set(self.obs["label"].tolist()))
        if len(labels) < 2:
            raise InputError(
                f"{self.source} has images of {len(labels)} label(s), expected at least two: a "
                "label is the name of the folder that an image lies in"
            )
        found = []
        for name, zeros in self.counts.items():
            baseline, *others = self._by_label(zeros).items()
            found += [_difference(name, other, baseline) for other in others]
        return [each for each in found if each is not None]

    def to_json(self, *, channels: bool = True, positions: bool = True) -> dict[str, Any]:
        """Give everything in JSON's types.

        Parameters
        ----------
        channels, positions
            Whether to give the zeros of every channel and at every position.
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
                f"{layer!r} wasn't counted, expected one of {', '.join(self.counts)}: name it "
                "among the layers"
            )
        return self.counts[layer]

    def _by_label(self, zeros: LayerZeros) -> dict[str, Float64]:
        shares, labels = zeros.row_shares, self.obs["label"].to_numpy()
        return {label: shares[labels == label] for label in sorted(set(labels.tolist()))}


def _difference(
    layer: str, ours: tuple[str, Float64], theirs: tuple[str, Float64]
) -> Difference | None:
    (name, shares), (baseline, baseline_shares) = ours, theirs
    return compare_shares(shares, baseline_shares, layer=layer, name=name, baseline=baseline)


def layer_facts(
    zeros: LayerZeros, *, channels: bool = True, positions: bool = True
) -> dict[str, Any]:
    """Give one layer's figures; channels by their numbers from 0.

    Parameters
    ----------
    zeros
        What was counted.
    channels, positions
        Whether to give the zeros of every channel and at every position; None where they weren't
        counted.
    """
    facts = {
        "shape": list(zeros.shape),
        "n_elements": zeros.n_elements,
        "n_zeros": zeros.n_zeros,
        "zeros": zeros.share,
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
    """Put the layers' shares below one key; JSON has no NaN."""
    plain = {
        str(key): None if isinstance(value, float) and math.isnan(value) else value
        for key, value in line.items()
    }
    known = [key for key in ("path", "label", *FLATNESS) if key in plain]
    named = {key: plain.pop(key) for key in known}
    return {**named, "zeros": plain}


def _listed(counts: "np.ndarray[Any, Any] | None") -> Any:
    return None if counts is None else counts.tolist()
