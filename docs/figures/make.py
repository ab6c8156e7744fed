"""Measure what docs/zeros.md says, and draw its figures and the README's.

    python docs/figures/make.py --model demo/vgg16.onnx --images demo/photos

Both are what `make demo` leaves. Writes zeros.json and the figures beside this file.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import sparsefeat
from sparsefeat.analysis import LayerZeros, compare_scalings
from sparsefeat.images import Decoded, decode, list_images

HERE = Path(__file__).parent
SIZE = (224, 224)
MAPPED = ("rocket.jpg", "block2_pool")  # the image and layer whose zeros are shown by position
SHOWN = ("chelsea.png", "block3_pool")  # the image and layer whose channels the README shows
ALONE = ("coffee.png", "block5_pool")  # the image and layer whose dead channels are counted

BLUE, ORANGE, GREY = "#0b5fa5", "#b3541e", "#6b6b6b"
MARKERS = dict(zip(("white", "black", "grey", "noise"), "sD^x", strict=True))

Float32 = npt.NDArray[np.float32]


def plain_inputs() -> dict[str, npt.NDArray[np.uint8]]:
    """Images without anything in them, uint8 (224, 224, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3))
    colours = {"white": 255, "black": 0, "grey": 128}
    plain = {name: np.full((*SIZE, 3), level, np.uint8) for name, level in colours.items()}
    return {**plain, "noise": noise.astype(np.uint8)}


def measure(model: Path, photos: Path) -> dict[str, Any]:
    """Count everything that the page says; shares are 0 to 1."""
    extractor = sparsefeat.Extractor(model, "pools,convs")
    sparsity = sparsefeat.analyse(photos, extractor=extractor)
    facts: dict[str, Any] = {
        "images": sparsity.images["path"].tolist(),
        "flat_share": sparsity.obs["flat_share"].tolist(),
        "layers": {},
        "plain": {},
    }
    correlations = sparsity.correlations()
    for name, zeros in sparsity.counts.items():
        assert zeros.always_on is not None
        pearson = correlations[name]["flat_share"].pearson
        facts["layers"][name] = {
            "zeros": zeros.sparsity,
            "by_image": zeros.row_sparsity.tolist(),
            "dead": len(zeros.dead),
            "always_on": len(zeros.always_on),
            "channels": zeros.layer.n_channels,
            "pearson": None if pearson is None else [pearson.value, pearson.low, pearson.high],
        }
    for name, pixels in plain_inputs().items():
        outputs = extractor.run(sparsefeat.normalize(pixels[np.newaxis], extractor.scaling))
        facts["plain"][name] = {layer: float(np.mean(x == 0)) for layer, x in outputs.items()}
    facts["channels"] = {
        name: sparsity.counts[name].channel_sparsity.tolist()
        for name in ("block1_pool", "block5_pool")
    }
    facts["without_bias"] = without_bias(model, photos)
    facts["dead_over_one"] = {ALONE[0]: len(zeros_of(model, photos / ALONE[0], ALONE[1]).dead)}
    pools = sparsefeat.Extractor(model, "pools")
    facts["scaling"] = {
        each.scaling: {
            "zeros": each.shares,
            "relative_error": each.relative_errors,
            "noticed_as": each.noticed,
        }
        for each in compare_scalings(pools, list_images([photos]))
    }
    positions = zeros_of(model, photos / MAPPED[0], MAPPED[1]).position_sparsity
    assert positions is not None
    facts["map"] = np.round(positions, 4).tolist()
    facts["maps"] = strongest_maps(model, photos / SHOWN[0], SHOWN[1])
    return facts


def strongest_maps(model: Path, photo: Path, layer: str) -> Float32:
    """Give the maps of the six channels with the largest activations, float32 (6, H, W)."""
    extractor = sparsefeat.Extractor(model, layer)
    (batch,) = extractor.activations([photo])
    maps = batch.layers[layer].reshape(extractor.layers[layer].shape)
    strongest = np.argsort(maps.max(axis=(0, 1)))[::-1][:6]
    return maps[..., strongest].transpose(2, 0, 1).copy()


def without_bias(model: Path, photos: Path) -> dict[str, float]:
    """Share of zeros that a convolution would give without its own bias, on the same input."""
    import onnx

    stored = onnx.load(str(model)).graph.initializer
    biases = {
        each.name: onnx.numpy_helper.to_array(each) for each in stored if "/bias" in each.name
    }
    extractor = sparsefeat.Extractor(model, "block*/pre")
    counts: dict[str, list[float]] = {name.removesuffix("/pre"): [] for name in extractor.layers}
    for image in list_images([photos]):
        decoded = decode(image, extractor.preset, SIZE)  # type: ignore[arg-type]
        assert isinstance(decoded, Decoded)
        outputs = extractor.run(sparsefeat.normalize(decoded.pixels[np.newaxis], extractor.scaling))
        for name, x in outputs.items():
            layer = name.removesuffix("/pre")
            counts[layer].append(float(np.mean(x - biases[f"{layer}/bias"] <= 0)))
    return {layer: float(np.mean(shares)) for layer, shares in counts.items()}


def zeros_of(model: Path, photo: Path, layer: str) -> LayerZeros:
    """Count the zeros of one layer for one image."""
    extractor = sparsefeat.Extractor(model, layer)
    return sparsefeat.analyse(photo, extractor=extractor).counts[layer]


def draw(facts: dict[str, Any], photos: Path, folder: Path) -> None:
    """Draw all figures from what was measured."""
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "sparsefeat",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        for name, figure in {
            "layers": by_layer(facts),
            "inputs": by_input(facts),
            "bias": by_bias(facts),
            "flat": by_flatness(facts),
            "channels": by_channel(facts),
        }.items():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        for name, figure, dpi in (
            ("map", by_position(facts, photos / MAPPED[0]), 80),
            ("overview", overview(facts, photos / SHOWN[0]), 120),
        ):
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=dpi, bbox_inches="tight", metadata={"Software": None})
            # A palette of 64 colours is enough for a thumbnail and maps.
            Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


def axes(width: float = 7.2, height: float = 2.8) -> tuple[Figure, Axes]:
    """Begin a figure; sizes in inches."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def percent_axis(ax: Axes) -> None:
    """Let the vertical axis go from 0 to 100 %."""
    ax.set_ylim(0, 100)
    ax.set_ylabel("zeros, %")
    ax.grid(axis="y", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)


def name_layers(ax: Axes, names: list[str]) -> None:
    """Write layers' names below their places."""
    short = [name.replace("block", "").replace("_", " ") for name in names]
    ax.set_xticks(range(len(names)), short, rotation=60, ha="right", rotation_mode="anchor")


def by_layer(facts: dict[str, Any]) -> Figure:
    """Zeros of every layer, pools set apart, and each image as a dot."""
    figure, ax = axes()
    names = list(facts["layers"])
    means = [100 * facts["layers"][name]["zeros"] for name in names]
    colours = [ORANGE if name.endswith("pool") else BLUE for name in names]
    ax.bar(range(len(names)), means, color=colours, width=0.7)
    for position, name in enumerate(names):
        shares = 100 * np.array(facts["layers"][name]["by_image"])
        ax.plot([position] * len(shares), shares, ".", color="black", markersize=3)
    name_layers(ax, names)
    percent_axis(ax)
    ax.set_title(
        "convolutions (blue) and max pools (orange); a dot is an image", loc="left", size=9
    )
    return figure


def by_input(facts: dict[str, Any]) -> Figure:
    """Images against images with nothing in them."""
    figure, ax = axes()
    names = list(facts["layers"])
    means = [100 * facts["layers"][name]["zeros"] for name in names]
    ax.plot(means, "-o", color=BLUE, markersize=3, label="images")
    for kind, shares in facts["plain"].items():
        values = [100 * shares[name] for name in names]
        ax.plot(
            values,
            MARKERS[kind],
            color=ORANGE if kind == "noise" else GREY,
            markersize=4,
            label=kind,
        )
    name_layers(ax, names)
    percent_axis(ax)
    ax.legend(frameon=False, ncols=5, loc="lower right", fontsize=8)
    return figure


def by_bias(facts: dict[str, Any]) -> Figure:
    """Zeros of convolutions with and without their bias."""
    figure, ax = axes()
    names = list(facts["without_bias"])
    positions = np.arange(len(names))
    ax.bar(
        positions - 0.2, [100 * facts["layers"][name]["zeros"] for name in names], 0.4, color=BLUE
    )
    ax.bar(
        positions + 0.2, [100 * facts["without_bias"][name] for name in names], 0.4, color="#9cc3e4"
    )
    name_layers(ax, names)
    percent_axis(ax)
    ax.set_title("with the layer's bias (dark) and without it (light)", loc="left", size=9)
    return figure


def by_flatness(facts: dict[str, Any]) -> Figure:
    """Zeros of three pools against the share of flat blocks."""
    figure, ax = axes(5.2, 3)
    flat = 100 * np.array(facts["flat_share"])
    for name, marker in zip(("block2_pool", "block3_pool", "block4_pool"), "os^", strict=True):
        shares = 100 * np.array(facts["layers"][name]["by_image"])
        ax.plot(flat, shares, marker, label=name, markersize=5)
    ax.set_xlabel("flat 8x8 blocks of the image, %")
    percent_axis(ax)
    ax.legend(frameon=False, loc="lower right", fontsize=8)
    return figure


def by_channel(facts: dict[str, Any]) -> Figure:
    """How the zeros are shared out among channels, in the first and the last pool."""
    figure = Figure(figsize=(7.2, 2.4))
    for ax, (name, shares) in zip(figure.subplots(1, 2), facts["channels"].items(), strict=True):
        ax.hist(100 * np.array(shares), bins=np.arange(0, 101, 5), color=BLUE)
        ax.set_title(f"{name}: {len(shares)} channels", loc="left", size=9)
        ax.set_xlabel("zeros of the channel, %")
        ax.set_ylabel("channels")
    figure.tight_layout()
    return figure


def by_position(facts: dict[str, Any], photo: Path) -> Figure:
    """Show an image, and where its zeros are."""
    figure = Figure(figsize=(6.4, 2.9))
    left, right = figure.subplots(1, 2)
    left.imshow(Image.open(photo).convert("RGB").resize(SIZE))
    shown = right.imshow(100 * np.array(facts["map"]), cmap="viridis", vmin=0, vmax=60)
    figure.colorbar(shown, ax=right, label=f"zeros of {MAPPED[1]}, %")
    for ax in (left, right):
        ax.set_axis_off()
    return figure


def overview(facts: dict[str, Any], photo: Path) -> Figure:
    """Show an image, six channels of it with their zeros in white, and the zeros of all pools."""
    figure = Figure(figsize=(9, 2.7), facecolor="white")
    grid = figure.add_gridspec(1, 3, width_ratios=(1, 1.65, 1.35))
    left, middle, right = (figure.add_subfigure(grid[column]) for column in range(3))
    ax = left.subplots()
    ax.imshow(Image.open(photo).convert("RGB").resize(SIZE))
    ax.set_axis_off()
    ax.set_title("an image", loc="left", size=9)
    colours = mpl.colormaps["viridis_r"].with_extremes(bad="white")
    for ax, channel in zip(middle.subplots(2, 3).flat, facts["maps"], strict=True):
        ax.imshow(np.ma.masked_equal(channel, 0), cmap=colours)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set(visible=True, color="#bbbbbb")
    middle.suptitle(f"six of 256 channels of {SHOWN[1]}; white is zero", size=9, y=0.97)
    middle.subplots_adjust(wspace=0.05, hspace=0.05, left=0.02, right=0.98)
    ax = right.subplots()
    pools = [name for name in facts["layers"] if name.endswith("pool")]
    shares = [100 * facts["layers"][name]["zeros"] for name in pools]
    bars = ax.barh(pools[::-1], shares[::-1], color=ORANGE, height=0.7)
    ax.bar_label(bars, fmt="%.0f %%", padding=3)
    ax.set_xlim(0, 100)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set_title("zeros of six images", loc="left", size=9)
    right.subplots_adjust(left=0.25)
    return figure


def main() -> None:
    """Measure, write down, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("demo/vgg16.onnx"))
    parser.add_argument("--images", type=Path, default=Path("demo/photos"))
    parser.add_argument("--output", type=Path, default=HERE)
    given = parser.parse_args()
    facts = measure(given.model, given.images)
    given.output.mkdir(parents=True, exist_ok=True)
    figures = {name: facts[name] for name in facts if name not in ("channels", "map", "maps")}
    text = json.dumps(figures, indent=1)
    (given.output / "zeros.json").write_text(text + "\n", encoding="utf-8")
    draw(facts, given.images, given.output)


if __name__ == "__main__":
    main()
