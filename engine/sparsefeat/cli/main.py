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

# The commands by group. Each has its own module, which is imported when the command is called.
GROUPS = {
    "Models": {
        "export": "Export Keras' VGG16 as a verified ONNX model file.",
        "quantize": "Make an int8 model file from a float32 one, and measure its error.",
    },
    "Features": {
        "extract": "Extract features of images into a store.",
        "info": "Print what a store or a model file contains.",
        "convert": "Convert a store to an h5ad, Parquet or npz file.",
    },
    "Analysis": {
        "sparsity": "Count zeros by layer, image, channel and position; compare sets.",
        "report": "Write a page about a store: zeros, sizes, unusual images.",
        "maps": "Show a layer's channels for one image, before and after ReLU.",
        "bench": "Compare the speed of sparsefeat, TensorFlow and PyTorch here.",
    },
    "Maintenance of stores": {
        "verify": "Check a store or a model file for damage.",
        "history": "List the snapshots of a store.",
        "compact": "Combine small parts of a store into full ones.",
        "merge": "Combine several stores into one.",
        "remove": "Remove rows from a store.",
        "vacuum": "Delete files that a store no longer uses.",
    },
    "First steps": {
        "demo": "Export a model, extract six images, write a report.",
    },
}
COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}

INTRODUCTION = """Extract VGG16 features of images, and store them as compressed sparse rows.

\b
  sparsefeat export -o vgg16.onnx
  sparsefeat extract photos/ -o features/ --layers pools
  sparsefeat info features/

sparsefeat COMMAND --help prints a command's options and examples.
"""

EPILOG = """
\b
Exit codes:
  0         success
  1         some images could not be read (the same command retries them), or
            all were rejected; or verify found damage or changed images
  2         an error: one line on standard error says what to do
  70        a bug in sparsefeat: one line says what to report
  130, 143  interrupted (SIGINT, SIGTERM); everything committed is safe
  141       the reader of standard output, such as head, closed it
"""

EX_SOFTWARE = 70  # sysexits.h

# Errors that the system can report to any command; any other OSError is a bug.
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
FULL = tuple(getattr(errno, name) for name in ("EDQUOT", "ENOSPC") if hasattr(errno, name))


class UserError(click.ClickException):
    """An error that the user can fix: one line, exit code 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        from sparsefeat.system import one_line

        super().__init__(one_line(message, most=len(message)))


class Fault(click.ClickException):
    """A bug: one line, exit code 70."""

    exit_code = EX_SOFTWARE

    def __init__(self, exc: Exception) -> None:
        from sparsefeat.system import describe_exception

        super().__init__(
            f"sparsefeat failed because of a bug ({describe_exception(exc)}): please report the "
            "command, this line, and the output of sparsefeat --debug COMMAND"
        )


class _Commands(click.Group):
    """Imports a command when it is called, and turns errors into one line."""

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
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                # Names are padded, so that the texts of all groups begin in one column.
                width = max(map(len, COMMANDS))
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])

    def main(self, *args: Any, **extra: Any) -> Any:
        _open_standard_streams()
        try:
            return super().main(*args, **extra)
        except OSError as exc:
            # Standard error can't be written either, so the exit code must suffice.
            told = exc.__context__
            sys.exit(told.exit_code if isinstance(told, click.ClickException) else 2)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _errors_in_one_line(debug=False):
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        # A file's name may not be valid Unicode; it is printed with escapes.
        if isinstance(sys.stdout, io.TextIOWrapper):
            if isinstance(sys.stdout.buffer, io.RawIOBase):
                # With PYTHONUNBUFFERED, the rest of a partial write would be lost.
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
    """Writes the library's log records as lines on standard error."""

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
        # The reader has closed the pipe: end with the exit code of SIGPIPE, as other programs do.
        _drop_standard_output()
        raise click.exceptions.Exit(141) from exc
    except Exception as exc:
        if debug:
            with suppress(OSError):
                traceback.print_exc()
        _tell(exc)


def _tell(exc: Exception) -> NoReturn:
    """Raise an exception that prints one line."""
    if isinstance(exc, click.UsageError) and not isinstance(
        exc, click.exceptions.NoArgsIsHelpError
    ):
        # Click itself would print two more lines, about the usage of the command.
        usage = "" if exc.ctx is None else f" (see {exc.ctx.command_path} --help)"
        raise UserError(exc.format_message().removesuffix(".") + usage) from exc
    if isinstance(exc, click.ClickException):
        raise exc
    if isinstance(exc, SparsefeatError):
        raise UserError(str(exc)) from exc
    if isinstance(exc, MemoryError):
        raise UserError(
            "out of memory: use a smaller --batch-size or --size, or fewer --layers"
        ) from exc
    if isinstance(exc, OSError) and _is_printing(exc):
        _drop_standard_output()
        raise UserError(f"can't write to standard output ({exc.strerror or exc})") from exc
    if isinstance(exc, OSError) and exc.errno in REFUSALS:
        raise UserError(_describe_refusal(exc)) from exc
    from sparsefeat.system import failed_import, interrupted

    failed = failed_import(exc)
    if failed is None:
        raise Fault(exc) from exc
    if interrupted(exc):
        raise click.exceptions.Exit(128 + signal.SIGINT) from exc
    raise UserError(str(failed)) from exc


def _describe_refusal(exc: OSError) -> str:
    file = "a file" if exc.filename is None else os.fsdecode(exc.filename)
    if exc.errno in FULL:
        return f"can't write {file} ({exc.strerror}): free space, and run the same command again"
    return (
        f"can't read or write {file} ({exc.strerror}): check its name and permissions, and the "
        "limits of the system, and run the same command again"
    )


def _is_printing(exc: OSError) -> bool:
    """Return whether writing to standard output failed, rather than to another file."""
    *_, (last, _) = traceback.walk_tb(exc.__traceback__)
    return last.f_code is click.echo.__code__


def _drop_standard_output() -> None:
    """Discard unwritten output, which Python would otherwise try to write again when it ends."""
    with suppress(io.UnsupportedOperation):  # a test's replacement
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_standard_streams() -> None:
    """Open the standard streams that the caller closed, so that no other file gets their numbers.

    Reading and writing them fails with EBADF, as in the caller; messages are dropped.
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
            f"the current folder can't be used ({exc.strerror}): change to a folder that exists"
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
    help="Also print the traceback of an error.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Also print progress: the provider in use, commits, images done.",
)
@click.version_option(package_name="sparsefeat")
def main(debug: bool, verbose: bool) -> None:
    """Run a command."""
