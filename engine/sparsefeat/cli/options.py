"""Options that several commands take, and types of options."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")


class Size(click.ParamType[tuple[int, int]]):
    """Height and width of pictures, such as ``224x224``."""

    name = "HEIGHTxWIDTH"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Take the two numbers apart."""
        height, cross, width = value.partition("x")
        if not (cross and height.isdecimal() and width.isdecimal()):
            self.fail(f"got {value!r}, expected height and width such as 224x224", param, ctx)
        return int(height), int(width)


class Counts(click.ParamType[tuple[int, ...]]):
    """Whole numbers of at least 1, such as ``1,8,32``."""

    name = "N,N,..."

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Take the numbers apart."""
        words = [word.strip() for word in value.split(",")]
        if not all(word.isdecimal() and int(word) for word in words):
            self.fail(f"got {value!r}, expected numbers from 1 such as 1,8,32", param, ctx)
        return tuple(map(int, words))


class NamedValue(click.ParamType[tuple[str, str]]):
    """A name and a value, such as ``device_id=1``."""

    name = "NAME=VALUE"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Take name and value apart."""
        name, equals, text = value.partition("=")
        if not equals:
            self.fail(f"got {value!r}, expected a name and a value: device_id=1", param, ctx)
        return name, text


model_option = click.option(
    "-m",
    "--model",
    default="vgg16.onnx",
    show_default=True,
    envvar="SPARSEFEAT_MODEL",
    show_envvar=True,
    help="Model file made by sparsefeat export.",
)
layers_option = click.option(
    "-l",
    "--layers",
    default="block5_pool",
    show_default=True,
    help="Layers, separated by commas: names, NAME/pre (before ReLU), pools, convs, walk, all, "
    "patterns.",
)
preprocess_option = click.option(
    "--preprocess",
    default="keras",
    show_default=True,
    help="How a picture becomes an array: keras, bilinear, bicubic, crop.",
)
size_option = click.option(
    "--size", type=Size(), help="Size of the pictures, when the model leaves it open."
)
provider_option = click.option(
    "--provider",
    type=click.Choice(["cpu", "openvino", "cuda", "auto"]),
    default="cpu",
    show_default=True,
    help="What runs the network; auto takes the fastest that can be had here.",
)
convolution_option = click.option(
    "--convolution",
    type=click.Choice(["auto", "direct", "winograd"]),
    default="auto",
    show_default=True,
    help="How 3x3 convolutions are computed; auto takes Winograd's for float32 on the CPU.",
)


def listing_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--include`` and ``--exclude``, for a command that lists photographs."""
    for option, text in (
        (
            "exclude",
            "Leave out files and folders that match: thumbnails, '*-edit.jpg', '2019/raw'.",
        ),
        ("include", "Take only files that match: '*.jpg'. Both may be repeated; case is ignored."),
    ):
        command = click.option(f"--{option}", multiple=True, metavar="PATTERN", help=text)(command)
    return command


rows_per_part_option = click.option(
    "--rows-per-part",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="Rows in a full part.",
)
bytes_per_part_option = click.option(
    "--bytes-per-part",
    type=click.IntRange(1),
    default=1 << 30,
    show_default=True,
    help="Bytes in a full part, before compression.",
)
