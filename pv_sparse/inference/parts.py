"""A network inside a model that computes in a type of its own, as it is or compiled, and looks as before outside."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pv_sparse.errors import PvSparseError
from pv_sparse.models.resnet3d import ResNet3D

NO_COMPILER = (
    "compile=True needs a C++ compiler, and none was found: install g++ or clang (or name it in the environment "
    "variable CXX), or leave compile off"
)


class Part(nn.Module):
    """Runs `net`, without gradients, on floating-point tensors of any type; float32 comes out.

    Args:
        net: in eval mode.
        dtype: what it computes in.
        is_compiled: whether by `torch.compile`, which happens at the first call, and again for the first other batch
            size; from then on the size of the batch is a variable.
        is_channels_last: how images that it is given are laid out; else they stay as they are.
    """

    def __init__(
        self,
        net: nn.Module,
        dtype: torch.dtype = torch.float32,
        is_compiled: bool = False,
        is_channels_last: bool = False,
    ):
        super().__init__()
        self.net = net
        self.dtype = dtype
        self.is_compiled = is_compiled
        self.is_channels_last = is_channels_last
        self._run: Callable[..., Any] | None = None

    def forward(self, *inputs: Any) -> Any:
        """As `net`."""
        with torch.no_grad():
            if not self.is_compiled or torch.compiler.is_compiling():
                return self._compute(*inputs)
            if self._run is None:
                self._run = _compiled(self._compute, is_on_gpu=_is_on_gpu(self.net))
            outputs = _run_compiled(self._run, inputs)
            # CUDA graphs write into the same memory at the next call.
            return _mapped(torch.clone, outputs) if _is_on_gpu(self.net) else outputs

    def _compute(self, *inputs: Any) -> Any:
        return _mapped(_to_float32, self.net(*_mapped(self._laid_out, inputs)))

    def _laid_out(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        tensor = tensor.to(self.dtype)
        is_image = tensor.ndim == 4 and self.is_channels_last
        return tensor.contiguous(memory_format=torch.channels_last) if is_image else tensor

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_run": None}


class BackbonePart(Part):
    """A `Part` with what others ask a `Backbone` for, as far as the network has it."""

    def __init__(self, backbone: Any, net: nn.Module, *arguments: Any):
        super().__init__(net, *arguments)
        for name in ("taps", "tap_channels", "in_channels", "cut"):
            if hasattr(backbone, name):
                setattr(self, name, getattr(backbone, name))


class Stem(NamedTuple):
    """What `C3DResNet18` asks its network's first convolution for."""

    in_channels: int


class NetPart(Part):
    """A `Part` with what others ask a `ResNet3D` for."""

    def __init__(self, original: ResNet3D, net: nn.Module, *arguments: Any):
        super().__init__(net, *arguments)
        self.stem = Stem(original.stem.in_channels)
        self.out_channels = original.out_channels


def channels_last(net: nn.Module) -> nn.Module:
    """`net` with the weights of its convolutions laid out so, in place; maps then follow by themselves."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        if isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)
    return net


def in_dtype(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`net` with its weights in `dtype`, in place; batch norms stay in float32, as they take inputs of other types."""
    if dtype != torch.float32:
        norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        net.to(dtype)
        for norm in norms:
            norm.float()
    return net


def _compiled(function: Callable[..., Any], is_on_gpu: bool) -> Callable[..., Any]:
    """With CUDA graphs on a GPU; on a CPU with the weights as constants, laid out beforehand."""
    options: dict[str, Any] = {"mode": "reduce-overhead"} if is_on_gpu else {"options": {"freezing": True}}
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        options["isolate_recompiles"] = True  # else the parts of all models share one number of allowed compilations
    return torch.compile(function, **options)


def _run_compiled(run: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return run(*inputs)
    except Exception as error:
        if isinstance(getattr(error, "inner_exception", error), InvalidCxxCompiler):
            raise PvSparseError(NO_COMPILER) from error
        raise


def _to_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _is_on_gpu(net: nn.Module) -> bool:
    return any(parameter.is_cuda for parameter in net.parameters())


def _mapped(function: Callable[[Tensor], Tensor], values: Any) -> Any:
    """`function` over the tensors in tuples, lists and mappings."""
    if isinstance(values, Tensor):
        return function(values)
    if isinstance(values, Mapping):
        return {key: _mapped(function, value) for key, value in values.items()}
    if isinstance(values, tuple) and hasattr(values, "_fields"):
        return type(values)(*(_mapped(function, value) for value in values))
    if isinstance(values, tuple | list):
        return type(values)(_mapped(function, value) for value in values)
    return values
