"""Make a model repository for NVIDIA's Triton Inference Server of an exported model.

python examples/triton_repository.py demo/vgg16.onnx block5_pool -o models/

Writes the layers' part of the model, and a `config.pbtxt` with the names, types and extents that
are in it:

    models/vgg16/config.pbtxt
    models/vgg16/1/model.onnx/model.onnx         a folder: the model consists of two files
    models/vgg16/1/model.onnx/model.onnx.data
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import onnx

from cut_model import cut

TYPES: dict[int, str] = {onnx.TensorProto.FLOAT: "TYPE_FP32"}


def tensors(values: Iterable[onnx.ValueInfoProto]) -> str:
    """Describe inputs or outputs; an extent that isn't fixed is -1, the batch is left out."""
    described = []
    for value in values:
        kind = value.type.tensor_type
        extents = [one.dim_value if one.HasField("dim_value") else -1 for one in kind.shape.dim]
        dims = ", ".join(map(str, extents[1:]))
        name = f'name: "{value.name}"'
        described.append(f"  {{ {name}, data_type: {TYPES[kind.elem_type]}, dims: [ {dims} ] }}")
    return ",\n".join(described)


def config(name: str, graph: onnx.GraphProto, max_batch: int, max_wait_ms: float) -> str:
    """Write the configuration, in the text format of Triton's `ModelConfig`."""
    return f"""\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {max_batch}
input [
{tensors(graph.input)}
]
output [
{tensors(graph.output)}
]
instance_group [ {{ kind: KIND_AUTO, count: 1 }} ]
dynamic_batching {{ max_queue_delay_microseconds: {round(1000 * max_wait_ms)} }}
"""


def main() -> None:
    """Make a model repository for Triton of an exported model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", type=Path, help="what `sparsefeat export` made")
    parser.add_argument("layers", nargs="+", help="such as block5_pool")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the repository's folder")
    parser.add_argument("--name", help="the model's name; by default that of the file")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--max-wait-ms", type=float, default=2.0)
    given = parser.parse_args()

    name = given.name or given.model.stem
    folder = given.output / name / "1" / "model.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    part = cut(given.model, given.layers, folder / "model.onnx")
    text = config(name, part.graph, given.max_batch, given.max_wait_ms)
    (given.output / name / "config.pbtxt").write_text(text)
    print(f"{given.output / name}: written; tritonserver --model-repository={given.output}")


if __name__ == "__main__":
    main()
