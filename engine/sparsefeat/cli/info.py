"""`sparsefeat info`."""

from typing import Any

import click

from sparsefeat.cli.options import is_model
from sparsefeat.cli.output import log, print_json, print_table, printable
from sparsefeat.system import counted, format_bytes, percent

EXAMPLES = """
\b
Examples:
  sparsefeat info features/
  sparsefeat info features/ --rejects
  sparsefeat info vgg16.onnx
  sparsefeat info features/ --json | jq '.layers.block5_pool.zeros'
"""


@click.command(epilog=EXAMPLES)
@click.argument("path")
@click.option("--rejects", is_flag=True, help="List a store's rejected images, with the reason.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def info(path: str, rejects: bool = False, as_json: bool = False) -> None:
    """Print what PATH contains: a store's folder or URL, or a model file."""
    if is_model(path):
        if rejects:
            raise click.UsageError(
                f"{printable(path)} is a model, which has no rejects: name a store"
            )
        _model(path, as_json)
    elif rejects:
        _rejects(path, as_json)
    else:
        _store(path, as_json)


def _rejects(path: str, as_json: bool) -> None:
    from sparsefeat.store import Store

    table = Store(path).rejected
    if as_json:
        print_json(table.reset_index(drop=True).to_dict("records"))
        return
    for folder, file, reason in table[["root", "path", "reason"]].itertuples(index=False):
        click.echo(f"{printable(folder)}/{printable(file)}: {printable(reason)}")
    log(f"{printable(path)}: {counted(len(table), 'reject')}")


def _store(path: str, as_json: bool) -> None:
    from sparsefeat.store import info

    facts: dict[str, Any] = info(path)
    if as_json:
        print_json(facts)
        return
    allocated = facts["allocated_bytes"]
    on_disk = "" if allocated is None else f" ({format_bytes(allocated)} on disk)"
    click.echo(
        f"{printable(path)}: {counted(facts['rows'], 'row')}, {facts['rejected']:,} rejected, "
        f"{counted(facts['parts'], 'part')}, {format_bytes(facts['bytes'])}{on_disk}, "
        f"snapshot {facts['snapshot']}"
    )
    lossy = any(layer["loss"] for layer in facts["layers"].values())
    rows = [
        (
            name,
            "x".join(map(str, layer["shape"])),
            percent(layer["zeros"]),
            format_bytes(layer["bytes_dense"]),
            format_bytes(layer["bytes_stored"]),
            percent(layer["ratio"]),
            layer["encoding"],
            layer["values"],
            *([_loss(layer["loss"])] if lossy else []),
        )
        for name, layer in facts["layers"].items()
    ]
    columns = ("layer", "shape", "zeros", "dense", "stored", "ratio", "encoding", "values")
    print_table((*columns, *(["worst error"] if lossy else [])), rows, left=1)


def _loss(loss: dict[str, float] | None) -> str:
    return "none" if loss is None else f"{loss['relative_l2']:.1e}"


def _model(path: str, as_json: bool) -> None:
    import msgspec

    from sparsefeat.model import PRE, ModelFile
    from sparsefeat_kernels import choose_variant

    metadata = ModelFile.open(path).metadata
    if as_json:
        print_json(msgspec.to_builtins(metadata))
        return
    height, width = metadata.input.height, metadata.input.width
    size = "any size" if height is None else f"{height}x{width}"
    facts = (
        f"{path}: {metadata.architecture}, weights {metadata.weights.source}, "
        f"{metadata.precision}, images of {size}"
    )
    click.echo(printable(facts))
    scaling = metadata.preprocessing.scaling
    click.echo(printable(f"pixels are scaled to {scaling} ({scaling.mode})"))
    if metadata.precision == "fp32":
        variant = choose_variant()
        click.echo(
            "convolutions on this processor: direct (no AVX-512, AVX2 with FMA, or NEON)"
            if variant is None
            else f"convolutions on this processor: winograd ({variant})"
        )
    compared = counted(len(metadata.certificate.images), "image")
    click.echo(f"verified against Keras on {compared}")
    rows = []
    for layer in metadata.layers:
        parity = metadata.certificate.layers[layer.name]
        shape = "x".join("?" if extent is None else str(extent) for extent in layer.shape)
        rows.append(
            (
                layer.name,
                shape,
                layer.name + PRE if layer.rectified else "",
                f"{parity.relative_l2:.1e}",
                f"{parity.agreement:.6f}",
            )
        )
    columns = ("layer", "shape", "before ReLU", "relative error", "zeros agree")
    print_table(columns, rows, left=3)
