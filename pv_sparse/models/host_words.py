"""The host's words for what our builders call otherwise, so that recipes can pass theirs."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from torch import nn

P = ParamSpec("P")
R = TypeVar("R")

HOST_WORDS = {"model_num_class": "num_classes", "dropout_rate": "dropout", "input_channel": "in_channels"}


def accepts_host_words(builder: Callable[P, R]) -> Callable[P, R]:
    """Let a keyword-only builder be called with PyTorchVideo's words too; `TypeError` where one thing is said twice."""

    @functools.wraps(builder)
    def build(*positional: P.args, **arguments: P.kwargs) -> R:
        return builder(*positional, **in_our_words(builder.__name__, arguments))

    return build


def in_our_words(caller: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a builder under our names; `TypeError` where one thing is said twice."""
    ours: dict[str, Any] = {}
    for word, value in arguments.items():
        name = HOST_WORDS.get(word, word)
        if name in ours:
            raise TypeError(f"{caller}() got {name} twice: once by the host's word for it")
        ours[name] = value
    return ours


def create_activation(head_activation: Callable[..., nn.Module] | None) -> nn.Module | None:
    """The host's `head_activation`: a class such as `nn.Softmax` or `nn.Sigmoid`, a module, or None for logits."""
    if isinstance(head_activation, nn.Module):
        return head_activation
    if head_activation in (nn.Softmax, nn.LogSoftmax):
        return head_activation(dim=-1)
    return head_activation() if head_activation else None
