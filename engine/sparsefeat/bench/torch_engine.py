"""The exported network in PyTorch, in the memory format that is fastest on a CPU: channels last."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

from sparsefeat.errors import ProviderError
from sparsefeat.images import Scaling, normalize
from sparsefeat.model import ModelFile, cut
from sparsefeat.system import importing

if TYPE_CHECKING:
    import torch

Float32 = NDArray[np.float32]
Mode = Literal["eager", "compile"]


class TorchEngine:
    """Runs the network of a model file in PyTorch, on the CPU.

    Parameters
    ----------
    model
        The exported file; its graph and weights are used.
    layers
        Names as `choose_layers` returns them; layers after the deepest one aren't run.
    mode
        ``eager`` runs one operator after the other; ``compile`` runs the network compiled by
        `torch.compile`, with the weights as constants.
    size
        (height, width) of the images.
    batch_sizes
        The batch sizes that will be run. The first is compiled at once, others on first use.
    threads
        Threads for each operator; also the number of processes that load images.

    Attributes
    ----------
    facts
        Version, device, precision and numbers of threads.

    Raises
    ------
    DependencyError
        PyTorch isn't installed, or doesn't load.
    ModelCorruptError
        The weights differ from those that were exported.
    ProviderError
        The graph has an operator that isn't part of VGG16, or `torch.compile` fails here.
    """

    def __init__(
        self,
        *,
        model: str,
        layers: list[str],
        mode: Mode,
        size: list[int],
        batch_sizes: list[int],
        threads: int,
    ) -> None:
        # With more than one, compilation starts processes that keep running.
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        with importing("torch", "pip install 'sparsefeat[torch]', or a build of your choice"):
            import torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        file = ModelFile.open(model)
        self._layers = tuple(layers)
        self._threads = threads
        self._scaling = file.metadata.preprocessing.scaling
        self._loader: Any = None
        self._loads: tuple[Sequence[str], int] | None = None
        self._shape: tuple[int, ...] | None = None
        self._compiled = mode == "compile"
        self._call: Callable[[torch.Tensor], tuple[torch.Tensor, ...]] = _network(file, layers)
        if self._compiled:
            self._call = torch.compile(
                self._call, fullgraph=True, dynamic=False, options={"freezing": True}
            )
            try:
                self.run(np.zeros((batch_sizes[0], *size, 3), dtype=np.float32))
            except Exception as exc:  # no compiler, a failing compiler, no headers, no cache folder
                raise ProviderError(f"torch.compile doesn't work here: {_reason(exc)}") from exc
        self.facts: dict[str, Any] = {
            "device": "cpu",
            "precision": "fp32",
            "runs_on": f"PyTorch {torch.__version__}",
            "intra_op_threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
        }

    def run(self, images: Float32) -> dict[str, Float32]:
        """Run float32 (N, H, W, 3) through the network; return an array for each layer."""
        import torch

        return self._run(torch.from_numpy(images))

    def extract(
        self, files: Sequence[str], *, batch_size: int, size: tuple[int, int]
    ) -> Iterator[dict[str, Float32]]:
        """Load images in other processes, and run them in batches."""
        from torch.utils.data import DataLoader

        if self._loads != (files, batch_size):
            self._loads = (files, batch_size)
            self._loader = DataLoader(
                _Images(files=files, size=size, scaling=self._scaling),
                batch_size=batch_size,
                num_workers=self._threads,
                persistent_workers=True,  # starting them would take part of a short pass
            )
        for images in self._loader:
            yield self._run(images)

    def _run(self, images: "torch.Tensor") -> dict[str, Float32]:
        import torch

        if self._compiled and images.shape != self._shape:
            torch.compiler.reset()  # frees what was compiled for another shape
            self._shape = images.shape
        with torch.inference_mode():
            outputs = self._call(images)
        return {name: one.numpy() for name, one in zip(self._layers, outputs, strict=True)}


@dataclass(frozen=True, kw_only=True)
class _Images:
    """A PyTorch data set of image files: float32 (H, W, 3), scaled as the model expects."""

    files: Sequence[str]
    size: tuple[int, int]
    scaling: Scaling

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Float32:
        height, width = self.size
        with Image.open(self.files[index]) as image:
            pixels = image.convert("RGB").resize((width, height), Image.Resampling.NEAREST)
        return normalize(np.asarray(pixels), self.scaling)


def _reason(exc: BaseException) -> str:
    """Return the first line of the message that names the cause."""
    lines = [line.strip() for line in str(exc).splitlines()]
    return next((line for line in lines if line and not line.endswith("raised:")), repr(exc))


def _network(file: ModelFile, layers: Sequence[str]) -> "torch.nn.Module":
    """Build a module from the model's graph: float32 (N, H, W, 3) -> tuple of layers."""
    import torch
    from torch import fx, nn

    chosen = cut(file, layers)
    nodes = chosen.model.graph.node
    root, graph = nn.Module(), fx.Graph()
    values: dict[str, Any] = {file.metadata.input.name: graph.placeholder("images")}
    for index, tensor in enumerate(chosen.model.graph.initializer):
        array = file.tensor(tensor.name)
        if array.dtype != np.float32:  # a shape
            values[tensor.name] = array.tolist()
            continue
        weight = torch.tensor(array)
        if weight.dim() == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        root.register_parameter(f"weight_{index}", nn.Parameter(weight, requires_grad=False))
        values[tensor.name] = graph.get_attr(f"weight_{index}")
    read = [*chosen.tensors.values(), *(name for node in nodes for name in node.input)]
    for node in nodes:
        call = _CALLS.get(node.op_type)
        if call is None:
            raise ProviderError(
                f"{file.path.name} has the operator {node.op_type} ({node.name}), which isn't part "
                "of VGG16: leave PyTorch's engines out"
            )
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        function, arguments = call([values[name] for name in node.input], attributes)
        if function is torch.relu and read.count(node.input[0]) == 1:
            function = torch.relu_
        values[node.output[0]] = graph.call_function(function, arguments)
    outputs = [values[chosen.tensors[name]] for name in layers]
    # No copy: the tensors are channels last already.
    graph.output(tuple(graph.call_method("contiguous", (one,)) for one in outputs))
    return fx.GraphModule(root, graph).eval()


_Call = tuple[Callable[..., Any], tuple[Any, ...]]


def _conv(inputs: list[Any], attributes: Mapping[str, Any]) -> _Call:
    import torch

    top, left, bottom, right = attributes["pads"]
    if (top, left) != (bottom, right):
        raise ProviderError(
            "PyTorch has no convolution with different padding on opposite sides: leave its "
            "engines out"
        )
    data, weight, *bias = inputs
    return torch.nn.functional.conv2d, (
        *(data, weight, bias[0] if bias else None),
        tuple(attributes["strides"]),
        (top, left),
        tuple(attributes["dilations"]),
        attributes.get("group", 1),
    )


def _max_pool(inputs: list[Any], attributes: Mapping[str, Any]) -> _Call:
    import torch

    window, strides = tuple(attributes["kernel_shape"]), tuple(attributes["strides"])
    return torch.nn.functional.max_pool2d, (inputs[0], window, strides)


def _function(
    name: str, **attributes_taken: Any
) -> Callable[[list[Any], Mapping[str, Any]], _Call]:
    """Map an operator to PyTorch's function `name`, with its inputs and the given attributes."""

    def call(inputs: list[Any], attributes: Mapping[str, Any]) -> _Call:
        import torch

        taken = (attributes.get(key, value) for key, value in attributes_taken.items())
        return getattr(torch, name), (*inputs, *taken)

    return call


# VGG16's ONNX operators, and their PyTorch functions.
_CALLS: dict[str, Callable[[list[Any], Mapping[str, Any]], _Call]] = {
    "Add": _function("add"),
    "Conv": _conv,
    "MatMul": _function("matmul"),
    "MaxPool": _max_pool,
    "Relu": _function("relu"),
    "Reshape": _function("reshape"),
    "Softmax": _function("softmax", axis=-1),
    "Transpose": _function("permute", perm=None),
}
