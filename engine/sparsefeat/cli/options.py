"""Options that several commands share, and their types."""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from sparsefeat.errors import InputError, StoreNotFoundError
from sparsefeat.storage import check_replaceable, is_special, is_url
from sparsefeat.system import MAX_BATCH_SIZE, refuse_empty, unknown_choice

LONGEST_NUMBER = 9  # digits of a number of pixels or images
MAX_PIXELS = 1 << 24  # as in sparsefeat.model.graph, whose import would slow the help down

P = ParamSpec("P")
R = TypeVar("R")


class Size(click.ParamType[tuple[int, int]]):
    """Height and width of images, such as ``224x224``."""

    name = "HEIGHTxWIDTH"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse the two numbers."""
        height, cross, width = value.lower().partition("x")
        if not (cross and _is_count(height) and _is_count(width)):
            self.fail(f"got {value!r}, expected height and width such as 224x224", param, ctx)
        if int(height) * int(width) > MAX_PIXELS:
            self.fail(f"got {value!r}, expected at most {MAX_PIXELS:,} pixels", param, ctx)
        return int(height), int(width)


class Counts(click.ParamType[tuple[int, ...]]):
    """Whole numbers from 1 to 4096, such as ``1,8,32``."""

    name = "N,N,..."

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse the numbers."""
        words = [word.strip() for word in value.split(",")]
        if not all(_is_count(word) and 1 <= int(word) <= MAX_BATCH_SIZE for word in words):
            expected = f"numbers from 1 to {MAX_BATCH_SIZE:,} such as 1,8,32"
            self.fail(f"got {value!r}, expected {expected}", param, ctx)
        return tuple(map(int, words))


class Word(click.Choice[str]):
    """One of several words; case is ignored."""

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(tuple(words), case_sensitive=False)

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        """Name the word that is most similar."""
        return unknown_choice(value, self.choices, "value")


class NamedValue(click.ParamType[tuple[str, str]]):
    """A name and a value, such as ``device_id=1``."""

    name = "NAME=VALUE"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split name and value."""
        name, equals, text = value.partition("=")
        if not equals:
            self.fail(f"got {value!r}, expected NAME=VALUE such as device_id=1", param, ctx)
        return name, text


class OutputFolder(click.ParamType[str]):
    """The name of a folder to write, or of a file whose format the command checks."""

    name = "DIR"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse an empty name and ``-``."""
        if not value.strip():
            self.fail("got an empty name: leave the option out, or give a name", param, ctx)
        if value == "-":
            reason = "this can't go to standard output: give the name of a file or folder"
            self.fail(reason, param, ctx)
        return value


class OutputFile(OutputFolder):
    """The name of a file to write; ``-`` is standard output if the file is text.

    Parameters
    ----------
    endings
        The allowed endings of the name, such as ".html"; case is ignored.
    is_text
        Whether the file may go to standard output.
    """

    name = "FILE"

    def __init__(self, *endings: str, is_text: bool = True) -> None:
        self._endings, self._is_text = endings, is_text

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that the file can be written, so that the command fails before it computes."""
        if value == "-" and self._is_text:
            return value
        path = Path(super().convert(value, param, ctx))
        if path.suffix.lower() not in self._endings and not is_special(path):
            expected = " or ".join(self._endings)
            self.fail(f"got {value!r}, expected a name that ends in {expected}", param, ctx)
        try:
            check_replaceable(value)
        except InputError as exc:
            self.fail(str(exc), param, ctx)
        return value


def is_model(path: str) -> bool:
    """Return whether a path is a model file rather than a store.

    Raises
    ------
    InputError
        The path is empty.
    StoreNotFoundError
        There is nothing at the path.
    """
    refuse_empty(path, "a store or a model")
    if is_url(path):
        return False
    if Path(path).is_file():
        return True
    if not os.path.lexists(path):
        raise StoreNotFoundError(
            f"there is nothing at {path}: name a store's folder or a model file"
        )
    return False


def _is_count(word: str) -> bool:
    return word.isdecimal() and len(word) <= LONGEST_NUMBER


def check_one_printed(*printed: tuple[str, object]) -> None:
    """Refuse two options that both print to standard output, given as names and values."""
    names = [name for name, value in printed if value is True or value == "-"]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} both print: leave one of them out")


def refuse_given(ctx: click.Context, names: tuple[str, ...], why: str) -> None:
    """Refuse options that were given on the command line but would have no effect."""
    given = [
        param.opts[-1]
        for param in ctx.command.params
        if param.name in names
        and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        them = "it" if len(given) == 1 else "them"
        raise click.UsageError(f"{', '.join(given)}: {why}; leave {them} out")


model_option = click.option(
    "-m",
    "--model",
    metavar="FILE",
    default="vgg16.onnx",
    show_default=True,
    envvar="SPARSEFEAT_MODEL",
    show_envvar=True,
    help="Model file of sparsefeat export.",
)
EXTRACTOR_OPTIONS = {
    "layers": click.option(
        "-l",
        "--layers",
        metavar="NAMES",
        default="block5_pool",
        show_default=True,
        help="Layers, separated by commas: names, NAME/pre (before ReLU), patterns such as "
        "'block5_*', and the groups pools, convs, stages, penultimate, all.",
    ),
    "pool": click.option(
        "--pool",
        type=Word(["none", "avg", "max"]),
        default="none",
        show_default=True,
        help="Global pooling over rows and columns.",
    ),
    "preprocess": click.option(
        "--preprocess",
        type=Word(["keras", "bilinear", "bicubic", "crop"]),
        default="keras",
        show_default=True,
        help="How an image is resized and scaled; keras matches load_img and preprocess_input.",
    ),
    "size": click.option(
        "--size",
        type=Size(),
        metavar="HEIGHTxWIDTH",
        help="Size of the images that the network gets.  [default: the model's]",
    ),
    "provider": click.option(
        "--provider",
        type=Word(["cpu", "openvino", "cuda", "auto"]),
        default="cpu",
        show_default=True,
        help="ONNX Runtime provider that runs the network; auto chooses the fastest available one.",
    ),
    "precision": click.option(
        "--precision",
        type=Word(["fp32", "bf16", "int8"]),
        help="Precision of the computation.  [default: the model's]",
    ),
    "provider_options": click.option(
        "--provider-option",
        "provider_options",
        type=NamedValue(),
        multiple=True,
        callback=lambda ctx, param, given: dict(given),
        help="Option of the provider, can be repeated. For cuda: device_id, memory_limit (bytes), "
        "conv_search.",
    ),
    "convolution": click.option(
        "--convolution",
        type=Word(["auto", "direct", "winograd"]),
        default="auto",
        show_default=True,
        help="Algorithm of 3x3 convolutions; auto chooses winograd for fp32 on the CPU.",
    ),
    "threads": click.option(
        "--threads",
        type=click.IntRange(1),
        metavar="N",
        help="Threads per operator.  [default: the number of processors that this process may use]",
    ),
    "decode_threads": click.option(
        "--decode-threads",
        type=click.IntRange(1),
        metavar="N",
        help="Threads that decode images.  [default: the same as --threads]",
    ),
    "batch_size": click.option(
        "--batch-size",
        type=click.IntRange(1),
        metavar="N",
        help="Images per run of the network.  [default: chosen for this machine]",
    ),
}
COMPUTING = ("preprocess", "size", "provider", "precision", "convolution")


def extractor_options(*names: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add options of `sparsefeat.ExtractorOptions`, which the command gets as dict `options`."""

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def gathered(*args: Any, **given: Any) -> R:
            return command(*args, options={name: given.pop(name) for name in names}, **given)

        for name in reversed(names):
            EXTRACTOR_OPTIONS[name](gathered)
        return gathered

    return decorate


def listing_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--include`` and ``--exclude``, for a command that lists images."""
    for option, text in (
        (
            "exclude",
            "Skip files and folders that match: '*-edit.jpg', '2019/raw'. Can be repeated.",
        ),
        ("include", "Use only files that match: '*.jpg'. Can be repeated; case is ignored."),
    ):
        command = click.option(f"--{option}", multiple=True, metavar="PATTERN", help=text)(command)
    return command


rows_per_part_option = click.option(
    "--rows-per-part",
    type=click.IntRange(1),
    metavar="N",
    default=1024,
    show_default=True,
    help="Rows in a full part.",
)
bytes_per_part_option = click.option(
    "--bytes-per-part",
    type=click.IntRange(1),
    metavar="N",
    default=1 << 30,
    show_default=True,
    help="Bytes in a full part, uncompressed.",
)
