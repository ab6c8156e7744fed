"""The command line: parse, call one library function, print."""

from sparsefeat.cli.main import main

__all__ = ["main"]
