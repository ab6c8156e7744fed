"""The `sparsefeat` command and what all its subcommands share."""

import importlib
import io
import logging
import os
import signal
import sys
from typing import Any

import click

from sparsefeat.cli.output import log
from sparsefeat.errors import SparsefeatError

# Where each command lives; only the one that is called is imported.
COMMANDS = {
    "export": "Make a model file: Keras' VGG16 as a verified ONNX graph.",
    "quantize": "Make an int8 model file of one in float32, and measure what it costs.",
    "extract": "Extract features of photographs into a store.",
    "info": "Say what a store or a model file holds.",
    "sparsity": "Count zeros by layer, picture, channel and position; compare sets.",
    "verify": "Check every byte of a store.",
    "compact": "Make few full parts of a store's many small ones.",
    "merge": "Make one store of several.",
    "convert": "Write a store as an h5ad, Parquet or npz file.",
    "maps": "Show a layer's channels in one photograph, before and after ReLU.",
    "report": "Write a page on a store: its zeros, pictures, sizes and origin.",
    "bench": "Compare sparsefeat with TensorFlow and PyTorch on this machine.",
    "demo": "Export, extract a few real photographs, and write a report on what came out.",
}

EPILOG = """
\b
Exit codes:
  0  done
  1  done, but some images could not be read this time, or all were rejected;
     or verify found damage or changed images
  2  it could not be done: one line on standard error says why and what to do
  130, 143  interrupted (SIGINT, SIGTERM); whatever was committed is safe
"""


class _Commands(click.Group):
    """Imports a command when it is called for, and turns our errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"sparsefeat.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        # A file's name may be no valid text, and is printed all the same.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        logging.getLogger("sparsefeat").setLevel(logging.INFO)
        logging.getLogger("sparsefeat").addHandler(_Lines())
        try:
            return super().invoke(ctx)
        except SparsefeatError as exc:
            raise UserError(str(exc)) from exc
        except MemoryError as exc:
            raise UserError(
                "out of memory; take a smaller --batch-size or --size, or fewer --layers"
            ) from exc
        except KeyboardInterrupt as exc:
            raise click.exceptions.Exit(128 + signal.SIGINT) from exc
        except BrokenPipeError as exc:
            # Whoever read has enough: like other programs, end as SIGPIPE would end us.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(141) from exc


class _Lines(logging.Handler):
    """Writes what the library logs as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        log(record.getMessage())


class UserError(click.ClickException):
    """An error that the user can do something about: one line, exit code 2."""

    exit_code = 2


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sparsefeat")
def main() -> None:
    r"""VGG16 features of photographs, stored as compressed sparse rows.

    \b
    sparsefeat export -o vgg16.onnx
    sparsefeat extract photos/ -o features/ --layers pools
    sparsefeat info features/
    """
