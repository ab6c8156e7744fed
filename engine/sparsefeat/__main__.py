"""``python -m sparsefeat``."""

from sparsefeat.cli import main

main(prog_name="sparsefeat")
