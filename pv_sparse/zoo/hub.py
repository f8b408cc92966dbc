"""The architectures of the zoo as functions, in the host's manner: for `torch.hub` and `pytorchvideo.models.hub`.

`tsn_r50(pretrained=False, progress=True, **kwargs)`, and so on; `__all__` has their names.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from pv_sparse.models.host_words import in_our_words
from pv_sparse.zoo.loading import build_model, load_model
from pv_sparse.zoo.weights import Weights, get_weights, list_architectures

HELP = """{description}.

    Args:
        pretrained: False for random weights; True for the first of these tags, or one of them: {tags}.
        progress: whether a download shows a bar.
        num_classes: another number of classes (`model_num_class` in the host's words), whose classifier then starts
            from random weights.
        device: where the model goes.
        dtype: of its floating point tensors; None is float32.
        kwargs: any argument of `{builder}`, such as `dropout`, in our words or the host's.

    Returns:
        A model in eval mode where it is pretrained, else in training mode: from normalised videos (N, C, T, H, W) to
        logits. `pv_sparse.get_weights("{first}")` has the sampler, the transform and the categories.

    Raises:
        WeightsError: an unknown tag, or a file that cannot be had.
        TypeError: an argument that the builder does not know, or one that is given twice.
    """


def entry_point(architecture: str) -> Callable[..., nn.Module]:
    """The function of an architecture of the zoo."""
    records = list_architectures()[architecture]

    def build(
        pretrained: bool | str = False,
        progress: bool = True,
        *,
        num_classes: int | Mapping[str, int] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> nn.Module:
        given = kwargs if num_classes is None else {"num_classes": num_classes, **kwargs}
        arguments = in_our_words(architecture, given)
        num_classes = arguments.pop("num_classes", None)
        if not pretrained:
            return build_model(records[0], num_classes, arguments).to(device=device, dtype=dtype)
        return load_model(_chosen(records, pretrained), num_classes, device, dtype, progress, arguments)

    build.__name__ = build.__qualname__ = architecture
    build.__doc__ = HELP.format(
        description=records[0].description,
        tags=", ".join(weights.tag for weights in records),
        builder=records[0].build["builder"],
        first=records[0].name,
    )
    return build


def _chosen(records: list[Weights], pretrained: bool | str) -> Weights:
    if not isinstance(pretrained, str):
        return records[0]
    return get_weights(pretrained if "." in pretrained else f"{records[0].architecture}.{pretrained}")


__all__ = sorted(list_architectures())  # noqa: PLE0605
globals().update({architecture: entry_point(architecture) for architecture in __all__})
