"""The command line: each command parses its options, calls one function, and prints the result."""

from sparsefeat.cli.main import main

__all__ = ["main"]
