"""Batch norms folded into the convolutions before them, whatever the network is written like.

The network runs once, and what it does with every tensor is noted. A norm is folded where it is all that reads the
output of a convolution; so no assumption is made about names or containers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONV_MODULES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WATCHED = (*CONV_MODULES, *NORMS, nn.ReLU, nn.ReLU6)
# What asks a tensor about its form does not read its values.
ATTRIBUTES = ("shape", "ndim", "dtype", "device", "is_cuda", "requires_grad")
QUESTIONS = (
    *(getattr(Tensor, name).__get__ for name in ATTRIBUTES),
    Tensor.size,
    Tensor.dim,
    Tensor.is_floating_point,
)


class Uses(TorchFunctionMode):
    """While it is active: how often each tensor is read, and what convolutions, norms and activations of `net` do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self._reads: dict[int, int] = {}
        self._calls: dict[nn.Module, list[tuple[Tensor, int]]] = {}  # what each is given, and how often that was read
        self._weights: dict[int, Tensor] = {}  # output of a convolution -> its weight
        self._makers: dict[int, nn.Module] = {}  # output of a module -> the module
        self._alive: list[object] = []  # an id is a name only as long as its object lives

    def __enter__(self) -> "Uses":
        watched = [module for module in self.net.modules() if isinstance(module, WATCHED)]
        self._hooks = [module.register_forward_pre_hook(self._before, with_kwargs=True) for module in watched]
        self._hooks += [module.register_forward_hook(self._after) for module in watched]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function in QUESTIONS:
            return result
        self.read((args, kwargs))
        self._alive.append(result)
        if function in CONVOLUTIONS:
            self._weights[id(result)] = args[1] if len(args) > 1 else kwargs["weight"]
        return result

    def read(self, values: Any) -> None:
        """Someone reads the tensors in `values`."""
        for tensor in _tensors(values):
            self._reads[id(tensor)] = self._reads.get(id(tensor), 0) + 1
            self._alive.append(tensor)

    def input_of(self, module: nn.Module) -> Tensor | None:
        """What the module alone reads, where it ran once; one that works in place may be followed by others."""
        calls = self._calls.get(module, [])
        if len(calls) != 1:
            return None
        tensor, before = calls[0]
        is_alone = getattr(module, "inplace", False) or self._reads.get(id(tensor), 0) == 1
        return tensor if before == 0 and is_alone else None

    def conv_that_made(self, tensor: Tensor) -> nn.Module | None:
        """The convolution, where it and its weight are used once."""
        conv, weight = self._makers.get(id(tensor)), self._weights.get(id(tensor))
        if not isinstance(conv, CONV_MODULES) or weight is None or conv._parameters.get("weight") is not weight:
            return None
        return conv if len(self._calls[conv]) == 1 and self._reads[id(weight)] == 1 else None

    def is_read_once(self, tensor: Tensor) -> bool:
        return self._reads.get(id(tensor), 0) == 1

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for tensor in _tensors((args, kwargs))[:1]:
            self._alive.append(tensor)
            self._calls.setdefault(module, []).append((tensor, self._reads.get(id(tensor), 0)))

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._makers.setdefault(id(output), module)  # what works in place gives it once more
        self._alive.append(output)


def uses_of(net: nn.Module, *inputs: Any) -> Uses:
    """From one run, without gradients."""
    uses = Uses(net)
    with torch.no_grad(), uses:
        outputs = net(*inputs)
    uses.read(outputs)  # by the caller
    return uses


@torch.no_grad()
def fold_norms(net: nn.Module, *inputs: Any) -> tuple[int, int]:
    """Fold what can be folded of `net`, in eval mode, in place: (batch norms folded, batch norms there were).

    Args:
        net: gets new weights; those it had stay as they are.
        inputs: what it takes.
    """
    uses = uses_of(net, *inputs)
    norms = [module for module in net.modules() if isinstance(module, NORMS)]
    rests: dict[nn.Module, nn.Module] = {}
    for norm in norms:
        conv, rest = _conv_before(norm, uses), _without_norm(norm)
        if conv is not None and rest is not None:
            _fuse(conv, norm)
            rests[norm] = rest
    replace_modules(net, rests)
    return len(rests), len(norms)


def replace_modules(net: nn.Module, others: Mapping[nn.Module, nn.Module]) -> None:
    """In place, under each of a module's names."""
    for parent in list(net.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in others:
                setattr(parent, name, others[child])


def _conv_before(norm: nn.Module, uses: Uses) -> nn.Module | None:
    """The convolution that this norm alone reads, where both ran once."""
    mean, read = norm._buffers["running_mean"], uses.input_of(norm)
    if mean is None or read is None or not uses.is_read_once(mean):
        return None
    return uses.conv_that_made(read)


def _without_norm(norm: nn.Module) -> nn.Module | None:
    """What is left of the module when the norm is gone; None for a kind that is not known."""
    if type(norm) in NORMS:
        return nn.Identity()
    if type(norm).__name__ == "BatchNormAct2d":  # timm's, with its activation
        return nn.Sequential(norm.drop, norm.act)  # type: ignore[arg-type]
    return None


def _fuse(conv: Any, norm: Any) -> None:
    """In double precision, so that only the result is rounded."""

    def wide(tensor: Tensor | None) -> Any:
        return None if tensor is None else tensor.detach().double()

    weight, bias = fuse_conv_bn_weights(
        wide(conv.weight),
        wide(conv.bias),
        wide(norm.running_mean),
        wide(norm.running_var),
        norm.eps,
        wide(norm.weight),
        wide(norm.bias),
    )
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.detach().to(dtype), requires_grad=False)


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, Mapping):
        return [tensor for value in values.values() for tensor in _tensors(value)]
    if isinstance(values, tuple | list):
        return [tensor for value in values for tensor in _tensors(value)]
    return []
