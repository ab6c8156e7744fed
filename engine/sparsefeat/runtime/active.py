"""What is really active once a session is made."""

from collections import Counter
from typing import TYPE_CHECKING

from sparsefeat.errors import ProviderError
from sparsefeat.runtime.known import Provider

if TYPE_CHECKING:
    import onnxruntime

# Makes ONNX Runtime remember which provider took which node.
RECORD_ASSIGNMENT = ("session.record_ep_graph_assignment_info", "1")


def check_active(session: "onnxruntime.InferenceSession", provider: Provider) -> None:
    """Make sure that every node of the session runs on the provider.

    ONNX Runtime gives to its CPU provider, in silence, what another one doesn't take.

    Raises
    ------
    ProviderError
        It is not the session's first provider, or has not taken all of the graph.
    """
    active = session.get_providers()
    if active[:1] != [provider.ort_name]:
        raise ProviderError(
            f"provider {provider.name} was asked for, but ONNX Runtime activated "
            f"{', '.join(active)}; install it with: {provider.install}"
        )
    nodes = [
        (part.ep_name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
    elsewhere = [node for node in nodes if node[0] != provider.ort_name]
    if elsewhere:
        left = ", ".join(
            f"{count} {op_type} to {ep_name}"
            for (ep_name, op_type), count in Counter(elsewhere).most_common(3)
        )
        raise ProviderError(
            f"provider {provider.name} was asked for, but took only "
            f"{len(nodes) - len(elsewhere)} of the graph's {len(nodes)} nodes and left {left}; "
            "use --provider cpu"
        )
