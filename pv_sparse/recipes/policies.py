"""The originals' parameter groups by name: which tensors learn faster, and which have no weight decay."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import nn

# `_NormBase` is also the base of synchronised and of lazy batch norm, and of instance norm.
BATCH_NORMS = (nn.modules.batchnorm._NormBase,)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
FLOW_CHANNELS = 2


class Multipliers(NamedTuple):
    """Of the learning rate and of the weight decay."""

    lr: float
    decay: float


_LINEAGE = {"weight": Multipliers(1, 1), "bias": Multipliers(2, 0), "norm": Multipliers(1, 0)}
# policy -> group -> its multipliers. A group without any tensor is left out.
POLICIES: dict[str, dict[str, Multipliers]] = {
    "tsn": {"first_conv_weight": Multipliers(1, 1), "first_conv_bias": Multipliers(2, 0), **_LINEAGE},
    "eco": {"first_conv3d_weight": Multipliers(1, 1), "first_conv3d_bias": Multipliers(2, 0), **_LINEAGE},
    "mmaction2": {"all": Multipliers(1, 1)},
    "plain": {"all": Multipliers(1, 1)},
    "no_norm_decay": {"weight": Multipliers(1, 1), "bias": Multipliers(1, 0), "norm": Multipliers(1, 0)},
}
# The convolution that has groups of its own, the first of its kind in the order of the modules, as the originals count.
FIRST = {"tsn": CONVOLUTIONS, "eco": (nn.Conv3d,)}
# What `tsn` does otherwise where the model takes optical flow.
FLOW = {"first_conv_weight": Multipliers(5, 1), "first_conv_bias": Multipliers(10, 0)}


def parameter_groups(model: nn.Module, policy: str, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters that require gradients, each in one group, for an optimizer of PyTorch.

    As (factor of the learning rate, factor of the weight decay):

    * `tsn`: weights (1, 1), biases (2, 0), batch norm (1, 0); of the first convolution, where the model takes optical
      flow, the weight (5, 1) and the bias (10, 0). `get_optim_policies` of yjxiong/tsn-pytorch, of TRN-pytorch, and of
      mmaction2's TRN. It and Caffe's prototxts have no rule for other layers; here all have that of weights and biases.
    * `eco`: the same numbers, with the first 3-D convolution in groups of its own, and no exception for flow.
      `get_optim_policies` of mzolfaghari/ECO-pytorch.
    * `mmaction2`: one group: its TSN. `plain` is the same.
    * `no_norm_decay`: weights (1, 1), biases and all kinds of norms (1, 0), as is usual with AdamW.

    A bias is what has "bias" in its name, as recurrent cells and Swin's relative positions do; what else is no norm,
    such as embeddings and scales, is a weight. A model takes optical flow if its first convolution reads two channels a
    frame.

    Args:
        model: what is frozen must be frozen before (`PartialBatchNorm`).
        policy: one of `POLICIES`.
        lr: learning rate of the factor 1.
        weight_decay: of the factor 1.

    Returns:
        Groups with `params`, `lr`, `weight_decay` and `name`, in the policy's order; the parameters in the model's.

    Raises:
        ValueError: an unknown policy, or a model of which nothing requires gradients.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy={policy!r} is unknown: choose one of {', '.join(POLICIES)}")
    multipliers = POLICIES[policy] | (FLOW if policy == "tsn" and takes_flow(model) else {})
    members: dict[str, list[nn.Parameter]] = {name: [] for name in multipliers}
    first = _first(model, FIRST.get(policy, ()))
    for module, name, parameter in _trainable(model):
        members[_group(policy, module, name, module is first)].append(parameter)
    if not any(members.values()):
        raise ValueError(f"no parameter of the {type(model).__name__} requires gradients: there is nothing to train")
    return [
        {"params": members[name], "lr": lr * factor.lr, "weight_decay": weight_decay * factor.decay, "name": name}
        for name, factor in multipliers.items()
        if members[name]
    ]


def takes_flow(model: nn.Module) -> bool:
    """Whether the first convolution reads two channels of each frame."""
    first = _first(model, CONVOLUTIONS)
    if first is None:
        return False
    stacked: Iterator[Any] = (getattr(module, "frames_per_segment", None) for module in model.modules())
    # A 3-D convolution has time as an axis of its own.
    num_frames = 1 if isinstance(first, nn.Conv3d) else next(filter(None, stacked), 1)
    return bool(first.in_channels == FLOW_CHANNELS * num_frames)


def _group(policy: str, module: nn.Module, name: str, is_first: bool) -> str:
    if "all" in POLICIES[policy]:
        return "all"
    if isinstance(module, NORMS if policy == "no_norm_decay" else BATCH_NORMS):
        return "norm"
    role = "bias" if "bias" in name else "weight"
    if not is_first:
        return role
    return next(group for group in POLICIES[policy] if group.startswith("first_") and group.endswith(role))


def _first(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Any:
    return next((module for module in model.modules() if isinstance(module, kinds)), None)


def _trainable(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """(module, the parameter's name in it, parameter), a shared one where it first occurs."""
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield module, name, parameter
