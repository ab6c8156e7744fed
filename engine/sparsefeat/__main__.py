"""The entry point of ``python -m sparsefeat`` and of the installed command."""

import sys


def run() -> None:
    """Run the command; print one line if a package that it needs does not load."""
    try:
        from sparsefeat.cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as exc:  # whatever a broken package raises
        from sparsefeat.system import REINSTALL, describe_exception, failed_import

        said = (
            failed_import(exc)
            or f"sparsefeat does not load ({describe_exception(exc)}); {REINSTALL}"
        )
        sys.stderr.write(f"Error: {said}\n")
        sys.exit(2)
    main(prog_name="sparsefeat")


if __name__ == "__main__":
    run()
