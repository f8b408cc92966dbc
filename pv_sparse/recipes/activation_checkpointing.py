"""Activation checkpointing: less memory for more time, by computing the backbone's activations again in backward.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, with `torch.utils.checkpoint`. A network is cut
where a single map is passed on, such as between residual or inception blocks, by a trace with `torch.fx`: the modules,
and so the state dict, stay as they are.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

Norm = nn.modules.batchnorm._NormBase
CONVOLUTIONS_OF_A_SEGMENT = 2


def checkpoint_activations(model: nn.Module) -> "Checkpointing":
    """Let a model's backbone, and ECO's 3-D network, keep only the maps between blocks for backward, in place.

    Gradients and dropout masks are those without it, and running statistics of batch norm are updated once. In eval, or
    without gradients, nothing changes. Copies of the model have it too. Forward hooks of modules inside a network run
    twice, `torch.compile` leaves these networks to run as they are, and FSDP that wraps parts of a backbone must bring
    its own, `FSDPStrategy(activation_checkpointing_policy=...)`.

    Args:
        model: with a backbone, as `create_tsn` and the others return it, or that and something around it; a model
            without is cut itself.

    Returns:
        What undoes it; networks that had it before are left to what was returned then.

    Raises:
        ValueError: a network that `torch.fx` cannot trace, or that nowhere passes a single map on.
    """
    networks = [network for module in model.modules() for network in _networks(module)] or [model]
    networks = [network for network in networks if not isinstance(vars(network).get("forward"), Recomputing)]
    stand_ins = [Recomputing(network) for network in networks]
    for network, stand_in in zip(networks, stand_ins, strict=True):
        network.forward = stand_in
    return Checkpointing(networks)


class Checkpointing:
    """The networks of a model that have activation checkpointing."""

    def __init__(self, networks: list[nn.Module]):
        self.networks = networks

    def undo(self) -> None:
        """Let them keep their activations again; once."""
        for network in self.networks:
            del network.forward
        self.networks = []


class Segment(NamedTuple):
    """A part of a network: from the network and what it reads to what it gives. Values and norms are told by name."""

    run: Callable[..., tuple[Any, ...]]
    inputs: list[str]
    outputs: list[str]
    norms: list[str]


class Recomputing:
    """Stands in for the `forward` of a network.

    Modules are looked up by name whenever they are used: they may be replaced by synchronised ones, and a copy of the
    network has its own. The graph is not copied or pickled, but traced again.
    """

    _traced: tuple[list[Segment], fx.Graph] | None = None

    def __init__(self, network: nn.Module):
        self.network = network
        self._traced = _segments(network)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, *inputs: Tensor) -> Any:
        if not self.network.training or not torch.is_grad_enabled():
            return type(self.network).forward(self.network, *inputs)
        self._traced = self._traced or _segments(self.network)
        segments, graph = self._traced
        names = [node.name for node in graph.nodes if node.op == "placeholder"]
        values: dict[str, Any] = dict(zip(names, inputs, strict=True))
        for segment in segments:
            values |= zip(segment.outputs, self._run(segment, values), strict=True)
        output = next(node for node in graph.nodes if node.op == "output")
        return fx.node.map_arg(output.args[0], lambda node: values[node.name])

    def _run(self, segment: Segment, values: dict[str, Any]) -> tuple[Any, ...]:
        norms = [self.network.get_submodule(name) for name in segment.norms]

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _statistics_kept(norms)

        inputs = [values[name] for name in segment.inputs]
        return checkpoint(segment.run, self.network, *inputs, use_reentrant=False, context_fn=contexts)

    def __getstate__(self) -> dict[str, Any]:
        return {"network": self.network}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """What is opaque: PyTorch's own, all norms (timm's would be traced in training), and what has no parts."""
        has_no_parts = next(m.children(), None) is None
        return has_no_parts or isinstance(m, Norm) or super().is_leaf_module(m, module_qualified_name)


def _networks(module: nn.Module) -> Iterator[nn.Module]:
    """What is cut: the backbone, and what of a head is a network."""
    backbone, head = getattr(module, "backbone", None), getattr(module, "head", None)
    if isinstance(backbone, nn.Module):
        yield backbone
        if isinstance(net := getattr(head, "net", None), nn.Module):
            yield net


def _segments(network: nn.Module) -> tuple[list[Segment], fx.Graph]:
    graph = _trace(network)
    nodes = [node for node in graph.nodes if node.op.startswith("call_")]
    starts = [0, *_cuts(network, nodes), len(nodes)]
    if len(starts) == 2:
        raise ValueError(
            f"activation checkpointing cannot cut a {type(network).__name__}: its layers nowhere pass on a single map"
        )
    return [_segment(network, nodes[a:b]) for a, b in pairwise(starts)], graph


def _trace(network: nn.Module) -> fx.Graph:
    was_training = {module: module.training for module in network.modules()}
    network.train()
    try:
        return _Tracer().trace(network)
    except Exception as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"activation checkpointing cannot cut a {type(network).__name__}, which torch.fx cannot trace: {why}"
        ) from error
    finally:
        for module, mode in was_training.items():
            module.training = mode


def _cuts(network: nn.Module, nodes: list[fx.Node]) -> list[int]:
    """Where segments begin: where one value is passed on, to a layer with weights, which never works in place.

    What is passed on to the end only, such as a tap, does not count. A norm stays with the convolution before it.
    """
    place = {node: number for number, node in enumerate(nodes)}
    last_use = {node: max((place[user] for user in node.users if user in place), default=-1) for node in nodes}
    dims = [_weight_dims(network, node) for node in nodes]
    cuts, convolutions = [], 0
    for number in range(len(nodes)):
        passed_on = [earlier for earlier in range(number) if last_use[nodes[earlier]] >= number]
        if len(passed_on) == 1 and convolutions >= CONVOLUTIONS_OF_A_SEGMENT:
            norm_of_convolution = dims[number] == 1 and dims[passed_on[0]] > 1
            if dims[number] and not norm_of_convolution:
                cuts.append(number)
                convolutions = 0
        convolutions += dims[number] > 1
    return cuts


def _weight_dims(network: nn.Module, node: fx.Node) -> int:
    """Dimensions of a layer's largest parameter: 1 of norms, 2 and more of convolutions and linear layers; else 0."""
    if node.op != "call_module":
        return 0
    return max((parameter.ndim for parameter in network.get_submodule(str(node.target)).parameters()), default=0)


def _segment(network: nn.Module, nodes: list[fx.Node]) -> Segment:
    inside = set(nodes)
    read_here = dict.fromkeys(read for node in nodes for read in node.all_input_nodes if read not in inside)
    attributes = [read for read in read_here if read.op == "get_attr"]
    inputs = [read for read in read_here if read.op != "get_attr"]
    outputs = [node for node in nodes if any(user not in inside for user in node.users)]
    graph = fx.Graph()
    copies = {read: graph.placeholder(read.name) for read in inputs}
    for node in [*attributes, *nodes]:
        copies[node] = graph.node_copy(node, lambda read: copies[read])
    graph.output(tuple(copies[node] for node in outputs))
    modules = [str(node.target) for node in nodes if node.op == "call_module"]
    norms = [name for name in modules if isinstance(network.get_submodule(name), Norm)]
    # The generated function alone, whose `self` is then the network.
    run = type(fx.GraphModule(network, graph)).forward
    return Segment(run, [node.name for node in inputs], [node.name for node in outputs], norms)


@contextmanager
def _statistics_kept(norms: list[nn.Module]) -> Iterator[None]:
    """Norms update copies of their statistics, which are then thrown away."""
    kept = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers(recurse=False)]
    for norm, name, buffer in kept:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer)
