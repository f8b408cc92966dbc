"""Literal key maps from published state dicts to ours: what is not named here is refused, not guessed."""

from collections.abc import Callable, Mapping

from torch import Tensor

from pv_sparse.errors import WeightsError

NORM_FIELDS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def convert(state: Mapping[str, Tensor], converter: str | None) -> dict[str, Tensor]:
    """The tensors of `state` under our keys; `WeightsError` names the first key that the converter does not know."""
    if converter is None:
        return dict(state)
    key_map = CONVERTERS[converter]()
    unknown = [key for key in state if key not in key_map]
    if unknown:
        raise WeightsError(f"the key {unknown[0]!r} ({len(unknown)} such) is unknown to the converter {converter}")
    return {key_map[key]: tensor for key, tensor in state.items()}


def _efficientnet_lite0() -> dict[str, str]:
    """Of lukemelas/EfficientNet-PyTorch's key names, which the published Lite0 file has, to a TSN's."""
    key_map = {"_fc.weight": "head.fc.weight", "_fc.bias": "head.fc.bias"}
    key_map |= _conv_and_norm("_conv_stem", "_bn0", "backbone.stem")
    key_map |= _conv_and_norm("_conv_head", "_bn1", "backbone.top")
    for block in range(16):
        theirs, ours = f"_blocks.{block}.", f"backbone.blocks.{block}."
        key_map |= _conv_and_norm(theirs + "_expand_conv", theirs + "_bn0", ours + "expand")
        key_map |= _conv_and_norm(theirs + "_depthwise_conv", theirs + "_bn1", ours + "depthwise")
        key_map |= _conv_and_norm(theirs + "_project_conv", theirs + "_bn2", ours + "project")
    return key_map


def _conv_and_norm(conv: str, norm: str, ours: str) -> dict[str, str]:
    return {f"{conv}.weight": f"{ours}.0.weight"} | {f"{norm}.{field}": f"{ours}.1.{field}" for field in NORM_FIELDS}


CONVERTERS: dict[str, Callable[[], dict[str, str]]] = {"efficientnet_lite0": _efficientnet_lite0}
