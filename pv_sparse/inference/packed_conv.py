"""2-D convolutions whose weights are laid out once, as oneDNN wants them, and not at every call.

They also apply the ReLU that follows, on the way out. The operators are those that torch's own compiler puts in; where
torch lacks them, and in any other device or dtype, an ordinary convolution runs.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse.inference.folding import replace_modules, uses_of
from pv_sparse.models.efficientnet_lite import SameConv2d

ONEDNN: Any = torch.ops.mkldnn
# activation -> oneDNN's name for it, and its numbers
FUSED = {"": ("none", []), "relu": ("relu", []), "relu6": ("hardtanh", [0.0, 6.0])}


class PackedConv2d(nn.Conv2d):
    """An `nn.Conv2d` for inference, made by `packed`. Its weights are held twice.

    Weights may be replaced, and written to in place, but not through `weight.data`: torch does not count that, and the
    old ones stay in use.
    """

    activation: str
    _packed: tuple[Tensor, tuple[int, int], Tensor] | None  # of which weights, in which state, and they laid out

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not self._can_be_packed(images):
            return _PLAIN[self.activation](super()._conv_forward(images, weight, bias))
        state = _state(weight)
        held = self._packed
        if held is None or held[0] is not weight or held[1] != state:
            laid_out = ONEDNN._reorder_convolution_weight(weight, *self._place(), list(images.shape))
            held = self._packed = weight, state, laid_out
        return ONEDNN._convolution_pointwise(images, held[2], bias, *self._place(), *FUSED[self.activation], "")

    def _place(self) -> tuple[Any, ...]:
        return self.padding, self.stride, self.dilation, self.groups

    def _can_be_packed(self, images: Tensor) -> bool:
        """Not while the module is compiled, exported or traced: there an ordinary convolution is understood best."""
        is_plain = images.device.type == "cpu" and images.dtype == self.weight.dtype == torch.float32
        is_watched = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
        return is_plain and not is_watched and not torch.is_grad_enabled()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}


class PackedSameConv2d(PackedConv2d, SameConv2d):
    """A `SameConv2d` for inference."""


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda out: out,
    "relu": F.relu_,
    "relu6": lambda out: F.hardtanh_(out, 0.0, 6.0),
}
ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.ReLU6: "relu6"}
PACKED: dict[type[nn.Module], type[PackedConv2d]] = {nn.Conv2d: PackedConv2d, SameConv2d: PackedSameConv2d}


def _state(weight: Tensor) -> tuple[int, int]:
    """Where it lies, and how often it was written to, which of tensors of the inference mode is not known."""
    return weight.data_ptr(), 0 if weight.is_inference() else cast(Any, weight)._version


def packed(conv: nn.Conv2d, activation: str = "") -> PackedConv2d:
    """The same convolution, with the same parameters, and what follows: nothing, `relu` or `relu6`."""
    kind = PACKED[type(conv)]
    made = kind.__new__(kind)
    made.__dict__.update({**conv.__dict__, "activation": activation, "_packed": None})
    return made


def can_pack() -> bool:
    """Whether this torch has the operators, and they work."""
    images = torch.ones(1, 1, 2, 2)
    try:
        with torch.no_grad():
            return bool((packed(nn.Conv2d(1, 1, 1))(images) >= -2).all())
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


def pack_convolutions(net: nn.Module, *inputs: Any) -> tuple[nn.Module, int, int]:
    """Replace the 2-D convolutions of `net`, in eval mode, in place.

    Args:
        net: may be a convolution itself.
        inputs: what it takes. Given them, it runs once, and an activation that alone reads the output of a convolution
            is taken into it.

    Returns:
        The net, how many convolutions were replaced, and how many of them with their activation.
    """
    convs = [module for module in net.modules() if _can_be_replaced(module)]
    followers = _followers(net, *inputs) if inputs else {}
    others: dict[nn.Module, nn.Module] = {}
    fused = [conv for conv in convs if conv in followers]
    for conv in convs:
        activation = ACTIVATIONS[type(followers[conv])] if conv in followers else ""
        others[conv] = packed(cast(nn.Conv2d, conv), activation)
    others |= {followers[conv]: nn.Identity() for conv in fused}
    replace_modules(net, others)
    return others.get(net, net), len(convs), len(fused)


def _followers(net: nn.Module, *inputs: Any) -> dict[nn.Module, nn.Module]:
    """Convolution -> the activation that alone reads what it gives."""
    uses = uses_of(net, *inputs)
    found = {}
    for module in net.modules():
        read = uses.input_of(module) if type(module) in ACTIVATIONS else None
        conv = None if read is None else uses.conv_that_made(read)
        if conv is not None:
            found[conv] = module
    return found


def _can_be_replaced(module: nn.Module) -> bool:
    return type(module) in PACKED and "weight" in module._parameters and _is_zero_padded(module)


def _is_zero_padded(conv: Any) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
