"""Cut an exported model down to some of its layers, for programs other than sparsefeat.

python examples/cut_model.py demo/vgg16.onnx block5_conv3/pre block5_pool -o cut.onnx

Writes the graph, and its weights beside it (`cut.onnx.data`). A pre-activation, `NAME/pre`, is a
tensor inside the exported graph; here it becomes an output, with channels first (N, C, H, W).
sparsefeat itself cuts the model when it loads it, and needs no such file.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx.utils import extract_model


def cut(model: Path, layers: Sequence[str], output: Path) -> onnx.ModelProto:
    """Write the part of a model that some layers need; give its graph, without weights."""
    exported = onnx.load(model, load_external_data=False)
    (images,) = (one.name for one in exported.graph.input)
    extract_model(model, output, [images], list(layers))

    part = onnx.load(output)
    del part.metadata_props[:]
    # How pixels are scaled, for the programs that run the part.
    part.metadata_props.extend(one for one in exported.metadata_props if one.key == "sparsefeat")
    weights = output.with_name(f"{output.name}.data")
    weights.unlink(missing_ok=True)  # `onnx.save` would append to it
    onnx.save(part, output, save_as_external_data=True, location=weights.name, size_threshold=0)
    weights.chmod(output.stat().st_mode)  # onnx makes it readable for its owner only
    return onnx.load(output, load_external_data=False)


def main() -> None:
    """Cut a model down to some of its layers."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", type=Path, help="what `sparsefeat export` made")
    parser.add_argument("layers", nargs="+", help="such as block5_pool or block5_conv3/pre")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    part = cut(given.model, given.layers, given.output)
    for output in part.graph.output:
        extents = [one.dim_param or one.dim_value for one in output.type.tensor_type.shape.dim]
        print(output.name, *extents)


if __name__ == "__main__":
    main()
