"""What Linux says of the processor."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def first_processor(cpuinfo: Path | None = None) -> dict[str, str]:
    """Read the fields of the first processor, such as ``model name`` and ``flags``.

    Parameters
    ----------
    cpuinfo
        Where they stand.

    Returns
    -------
    dict
        Empty where the system doesn't say.
    """
    try:
        lines = (cpuinfo or CPUINFO).read_text(errors="replace").splitlines()
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if fields and not name.strip():
            break  # the next processor
        if name.strip():
            fields[name.strip()] = value.strip()
    return fields
