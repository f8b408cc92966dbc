"""`optimize(model)`: the same answers, faster."""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from pv_sparse.inference.checking import Videos, by_task, compared, example_input
from pv_sparse.inference.fast_resnet3d import FastResNet3D, count_winograd
from pv_sparse.inference.folding import fold_norms
from pv_sparse.inference.packed_conv import can_pack, pack_convolutions
from pv_sparse.inference.parts import BackbonePart, NetPart, Part, channels_last, in_dtype
from pv_sparse.models.conv_lstm import ConvLstmHead
from pv_sparse.models.eco import EcoHead
from pv_sparse.models.fusion import FrameEnsemble, LateFusion
from pv_sparse.models.resnet3d import C3DResNet18, ResNet3D
from pv_sparse.models.segment_net import SegmentNet

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def optimize(
    model: nn.Module,
    precision: str = "float32",
    compile: bool = False,  # noqa: A002
    check_input: Videos | None = None,
) -> nn.Module:
    """A copy of `model` for inference, on its device, with the same call.

    Batch norms are folded into convolutions, maps have their channels last, and on a CPU in float32 the weights of 2-D
    convolutions are laid out once (they are held twice for it) and 3-D convolutions run as 2-D ones, by Winograd's
    F(2, 3) along time. The 2-D and the 3-D network compute in `precision`; pooling, relations and classifiers, which
    cost next to nothing, in float32. Of a `SegmentNet` (in a `FrameEnsemble` or `LateFusion` too) `backbone`, `head`
    and `maps` can still be called one by one; maps are float32. A module of another kind is run by
    one that casts.

    Args:
        model: of this package, or any other that gives a Tensor or a dict of them; in eval mode and float32; it stays
            as it is.
        precision: `float32`, `bfloat16` or `float16`, of weights and maps. Videos of any floating type are taken, and
            logits are float32.
        compile: whether `torch.compile` makes the networks anew, which takes a minute at the first call; on a GPU with
            CUDA graphs. On a CPU it needs a C++ compiler.
        check_input: a batch that both models are run on, to compare them; None is a random video of 224x224.

    Returns:
        A module whose `optimization` (an `Optimization`) says what was done, and how far the logits moved. It gives no
        gradients.

    Raises:
        ValueError: an unknown precision, or one that the device cannot compute in; a model in training mode, or one
            that was optimised before, or whose weights are not float32; a model of another kind, or with a backbone of
            another kind, without `check_input`; outputs that are no logits; logits of the result that are no finite
            numbers, or in float32 others than the model's.
        PvSparseError: `compile` without a C++ compiler.
    """
    _check(model, precision)
    with torch.inference_mode(mode=False), torch.no_grad():
        videos = example_input(model) if check_input is None else check_input
        twin = copy.deepcopy(model).requires_grad_(False)
        seen = _Inputs(twin)
        with seen:
            given = by_task(twin(videos))
        plan = _Plan(PRECISIONS[precision], compile, seen)
        result: Any = plan.apply(twin, videos).eval()
        found = by_task(result(videos))
        is_on_gpu = any(logits.is_cuda for logits in given.values())
        result.optimization = compared(plan.steps(precision), precision, given, found, is_on_gpu)
    return result


def _check(model: nn.Module, precision: str) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown: choose one of {', '.join(PRECISIONS)}")
    if any(module.training for module in model.modules()):
        raise ValueError("the model is in training mode: call model.eval() first")
    if any(isinstance(module, Part) or hasattr(module, "optimization") for module in model.modules()):
        raise ValueError("the model was optimised before: give the one that it was made from")
    other = {str(p.dtype) for p in model.parameters() if p.is_floating_point() and p.dtype != torch.float32}
    if other:
        raise ValueError(f"the model's weights are {', '.join(sorted(other))}: convert it with model.float() first")
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        ones = torch.ones(1, 1, 3, 3, 3, device=device, dtype=PRECISIONS[precision])
        torch.conv3d(ones, ones)
        torch.conv2d(ones[0], ones[0])
    except RuntimeError as error:
        raise ValueError(f"precision={precision!r} cannot be computed in on {device}: try bfloat16") from error


class _Inputs:
    """While it is active: the first of what each 2-D and 3-D network of a model is given."""

    def __init__(self, model: nn.Module):
        self.first: dict[nn.Module, Tensor] = {}
        nets = [net for m in model.modules() for net in (_backbone_of(m), _net_of(m)) if net is not None]
        self._watched = nets

    def __enter__(self) -> None:
        self._hooks = [net.register_forward_pre_hook(self._remember) for net in self._watched]

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _remember(self, net: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.first.setdefault(net, inputs[0][:1])


class _Plan:
    """What is done to each network of one model, counted."""

    def __init__(self, dtype: torch.dtype, is_compiled: bool, inputs: _Inputs):
        self.dtype = dtype
        self.is_compiled = is_compiled
        self.inputs = inputs.first
        self.folded = self.norms = self.packed = self.fused = self.winograd = self.convs_3d = self.images = 0
        self.can_pack = can_pack() and not is_compiled  # The compiler does the same by itself.

    def apply(self, model: nn.Module, videos: Videos) -> nn.Module:
        """The model with its networks replaced, or, where it is of another kind, in one that casts."""
        if not isinstance(model, SegmentNet | FrameEnsemble | LateFusion | C3DResNet18):
            return Part(self._fast_2d(model, videos), self.dtype, self.is_compiled, True)
        for module in list(model.modules()):
            backbone: Any = _backbone_of(module)
            if backbone is not None:
                net = self._fast_2d(backbone, self.inputs[backbone])
                arguments = (self.dtype, self.is_compiled, True)
                module.backbone = BackbonePart(backbone, net, *arguments)
            net_3d = _net_of(module)
            if net_3d is not None:
                module.net = NetPart(net_3d, self._fast_3d(net_3d), self.dtype, self.is_compiled)
            if isinstance(module, ConvLstmHead):
                gates = self._fast_2d(module.cell.gates)
                module.cell.gates = cast(nn.Conv2d, Part(gates, self.dtype, self.is_compiled, True))
        return model

    def _fast_2d(self, net: nn.Module, *inputs: Any) -> nn.Module:
        if inputs:
            self._fold(net, *inputs)
        in_dtype(channels_last(net), self.dtype)
        self.images += 1
        if self._is_on_cpu_in_float32(net) and self.can_pack:
            net, number, fused = pack_convolutions(net, *inputs)
            self.packed, self.fused = self.packed + number, self.fused + fused
        return net

    def _fast_3d(self, net: ResNet3D) -> nn.Module:
        self._fold(net, self.inputs[net])
        if not self._is_on_cpu_in_float32(net):
            return in_dtype(channels_last(net), self.dtype)
        fast = FastResNet3D(net, self.can_pack)
        winograd, convs = count_winograd(fast)
        self.winograd, self.convs_3d = self.winograd + winograd, self.convs_3d + convs
        return fast

    def _fold(self, net: nn.Module, *inputs: Any) -> None:
        folded, norms = fold_norms(net, *inputs)
        self.folded, self.norms = self.folded + folded, self.norms + norms

    def _is_on_cpu_in_float32(self, net: nn.Module) -> bool:
        return self.dtype == torch.float32 and all(tensor.device.type == "cpu" for tensor in net.parameters())

    def steps(self, precision: str) -> list[str]:
        """Short sentences about what was done."""
        said = [
            (self.norms, f"{self.folded} of {self.norms} batch norms folded into convolutions"),
            (self.images, "channels last"),
            (self.packed, f"weights of {self.packed} 2-D convolutions laid out once, {self.fused} with their ReLU"),
            (
                self.convs_3d,
                f"{self.winograd} of {self.convs_3d} 3-D convolutions as temporal Winograd F(2,3), the others as 2-D "
                "convolutions of stacked frames",
            ),
            (True, precision),
            (self.is_compiled, "compiled"),
        ]
        return [sentence for was_done, sentence in said if was_done]


def _backbone_of(module: nn.Module) -> nn.Module | None:
    return module.backbone if isinstance(module, SegmentNet) else None


def _net_of(module: nn.Module) -> ResNet3D | None:
    holds = isinstance(module, EcoHead | C3DResNet18) and isinstance(module.net, ResNet3D)
    return cast(ResNet3D, module.net) if holds else None
