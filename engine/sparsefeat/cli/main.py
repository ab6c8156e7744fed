"""The `sparsefeat` command and what all its subcommands share."""

import errno
import importlib
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from sparsefeat.cli.output import log
from sparsefeat.errors import SparsefeatError

# Where each command lives; only the one that is called is imported.
COMMANDS = {
    "export": "Make a model file: Keras' VGG16 as a verified ONNX graph.",
    "quantize": "Make an int8 model file of one in float32, and measure what it costs.",
    "extract": "Extract features of images into a store.",
    "info": "Say what a store or a model file holds.",
    "sparsity": "Count zeros by layer, image, channel and position; compare sets.",
    "verify": "Check every byte of a store.",
    "compact": "Make few full parts of a store's many small ones.",
    "merge": "Make one store of several.",
    "remove": "Remove rows from a store.",
    "history": "List a store's snapshots.",
    "vacuum": "Delete what is no longer part of a store.",
    "convert": "Write a store as an h5ad, Parquet or npz file.",
    "maps": "Show a layer's channels in one image, before and after ReLU.",
    "report": "Write a page on a store: its zeros, images, sizes and origin.",
    "bench": "Compare sparsefeat with TensorFlow and PyTorch on this machine.",
    "demo": "Export, extract a few real images, and write a report on what came out.",
}

INTRODUCTION = """VGG16 features of images, stored as compressed sparse rows.

\b
  sparsefeat export -o vgg16.onnx
  sparsefeat extract photos/ -o features/ --layers pools
  sparsefeat info features/
"""

EPILOG = """
\b
Exit codes:
  0  done
  1  done, but some images could not be read this time, or all were rejected;
     or verify found damage or changed images
  2  it could not be done: one line on standard error says why and what to do
  70  a fault of sparsefeat itself: one line says what to report
  130, 143  interrupted (SIGINT, SIGTERM); whatever was committed is safe
  141  the reader of standard output, such as head, has closed it
"""

EX_SOFTWARE = 70  # sysexits.h has the number

# What the system may say to anybody, whatever the command; any other OSError is a fault of ours.
REFUSALS = tuple(
    getattr(errno, name)
    for name in (
        "EACCES",
        "EDQUOT",
        "EFBIG",
        "EIO",
        "ELOOP",
        "EMFILE",
        "ENAMETOOLONG",
        "ENFILE",
        "ENOSPC",
        "EPERM",
        "EROFS",
    )
    if hasattr(errno, name)
)


class UserError(click.ClickException):
    """An error that the user can do something about: one line, exit code 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        from sparsefeat.system import one_line

        super().__init__(one_line(message, most=len(message)))


class Fault(click.ClickException):
    """An error that nobody expected: one line, exit code 70."""

    exit_code = EX_SOFTWARE

    def __init__(self, exc: Exception) -> None:
        from sparsefeat.system import describe_exception

        super().__init__(
            f"sparsefeat has failed ({describe_exception(exc)}); this is a fault of its own: "
            "please report the command and this line, and what it prints as "
            "sparsefeat --debug COMMAND"
        )


class _Commands(click.Group):
    """Imports a command when it is called for, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"sparsefeat.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from sparsefeat.system import unknown_choice

            ctx.fail(unknown_choice(args[0], COMMANDS, "command"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        _open_standard_streams()
        try:
            return super().main(*args, **extra)
        except OSError as exc:
            # Not even the reason can be written: the exit code must do.
            told = exc.__context__
            sys.exit(told.exit_code if isinstance(told, click.ClickException) else 2)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _errors_in_one_line(debug=False):
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        # A file's name may be no valid text, and is printed all the same.
        if isinstance(sys.stdout, io.TextIOWrapper):
            if isinstance(sys.stdout.buffer, io.RawIOBase):
                # PYTHONUNBUFFERED: what the system does not take at once would be lost.
                buffered = io.BufferedWriter(sys.stdout.buffer)
                sys.stdout = io.TextIOWrapper(buffered, sys.stdout.encoding, write_through=True)
            sys.stdout.reconfigure(errors="backslashreplace")
        level = logging.INFO if ctx.params["verbose"] else logging.WARNING
        logging.getLogger("sparsefeat").setLevel(level)
        logging.getLogger("sparsefeat").handlers = [_Lines()]
        with _errors_in_one_line(debug=ctx.params["debug"]):
            _check_current_folder()
            return super().invoke(ctx)


class _Lines(logging.Handler):
    """Writes what the library logs as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        log(record.getMessage())


@contextmanager
def _errors_in_one_line(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt as exc:
        raise click.exceptions.Exit(128 + signal.SIGINT) from exc
    except BrokenPipeError as exc:
        # Whoever read has enough: like other programs, end as SIGPIPE would end us.
        _drop_standard_output()
        raise click.exceptions.Exit(141) from exc
    except Exception as exc:
        if debug:
            with suppress(OSError):
                traceback.print_exc()
        _tell(exc)


def _tell(exc: Exception) -> NoReturn:
    """Make one line of an exception."""
    if isinstance(exc, click.ClickException):
        raise exc
    if isinstance(exc, SparsefeatError):
        raise UserError(str(exc)) from exc
    if isinstance(exc, MemoryError):
        raise UserError(
            "out of memory; take a smaller --batch-size or --size, or fewer --layers"
        ) from exc
    if isinstance(exc, OSError) and _is_printing(exc):
        _drop_standard_output()
        raise UserError(f"can't write to standard output ({exc.strerror or exc})") from exc
    if isinstance(exc, OSError) and exc.errno in REFUSALS:
        where = "" if exc.filename is None else f": {os.fsdecode(exc.filename)}"
        raise UserError(
            f"the system refused ({exc.strerror}{where}), expected room, permission and a name "
            "that it takes: see to that, and run the same command again"
        ) from exc
    from sparsefeat.system import failed_import, interrupted

    failed = failed_import(exc)
    if failed is None:
        raise Fault(exc) from exc
    if interrupted(exc):
        raise click.exceptions.Exit(128 + signal.SIGINT) from exc
    raise UserError(str(failed)) from exc


def _is_printing(exc: OSError) -> bool:
    """Tell whether it was standard output that failed, and not a file of some work."""
    *_, (last, _) = traceback.walk_tb(exc.__traceback__)
    return last.f_code is click.echo.__code__


def _drop_standard_output() -> None:
    """Let what is not yet written go nowhere: Python would try again when it ends."""
    with suppress(io.UnsupportedOperation):  # what a test has put there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_standard_streams() -> None:
    """Open those that the caller has closed, so that no file of ours gets their numbers.

    Reading and writing fail there with EBADF, as they did in the caller; messages are dropped.
    """
    for number, flag in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError as exc:
            if exc.errno == errno.EBADF and os.open(os.devnull, flag) == number:
                mode = "r" if number == 0 else "w"
                stream = open(number, mode, closefd=False)  # noqa: SIM115
                setattr(sys, ("stdin", "stdout", "stderr")[number], stream)


def _check_current_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as exc:
        raise UserError(
            f"the current folder can't be used ({exc.strerror}), expected one that exists: change "
            "to another one"
        ) from exc


@click.group(
    cls=_Commands,
    help=INTRODUCTION,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--debug",
    is_flag=True,
    envvar="SPARSEFEAT_DEBUG",
    show_envvar=True,
    help="Print the traceback of an error, too.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Print what is done meanwhile: provider, commits, how far it is.",
)
@click.version_option(package_name="sparsefeat")
def main(debug: bool, verbose: bool) -> None:
    """Run a command."""
