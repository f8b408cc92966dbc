"""The architectures of the zoo as functions, in the host's manner: for `torch.hub` and `pytorchvideo.models.hub`.

`tsn_r50(pretrained=False, progress=True, **kwargs)`, and so on; `__all__` has their names.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from pv_sparse.zoo.loading import build_model, load_model
from pv_sparse.zoo.weights import Weights, get_weights, list_architectures

HOSTS_CLASSES = "model_num_class"
HELP = """{description}.

    Args:
        pretrained: False for random weights; True for the first of these tags, or one of them: {tags}.
        progress: whether a download shows a bar.
        kwargs: `num_classes` (or `model_num_class`): another number of classes, whose classifier then starts from
            random weights; `device`, `dtype`; and any argument of `{builder}`, such as `dropout`.

    Returns:
        A model in eval mode where it is pretrained, else in training mode: from normalised videos (N, C, T, H, W) to
        logits. `pv_sparse.get_weights("{first}")` has the sampler, the transform and the categories.

    Raises:
        WeightsError: an unknown tag, or a file that cannot be had.
        TypeError: an argument that the builder does not know.
    """


def entry_point(architecture: str) -> Callable[..., nn.Module]:
    """The function of an architecture of the zoo."""
    records = list_architectures()[architecture]

    def build(pretrained: bool | str = False, progress: bool = True, **kwargs: Any) -> nn.Module:
        if HOSTS_CLASSES in kwargs:
            kwargs["num_classes"] = kwargs.pop(HOSTS_CLASSES)
        num_classes, device = kwargs.pop("num_classes", None), kwargs.pop("device", "cpu")
        dtype = kwargs.pop("dtype", None)
        if pretrained is False:
            return build_model(records[0], num_classes, kwargs).to(device=device, dtype=dtype)
        weights = _chosen(records, architecture, pretrained)
        return load_model(weights, num_classes, device, dtype, progress, kwargs)

    build.__name__ = build.__qualname__ = architecture
    build.__doc__ = HELP.format(
        description=records[0].description,
        tags=", ".join(weights.tag for weights in records),
        builder=records[0].build["builder"],
        first=records[0].name,
    )
    return build


def _chosen(records: list[Weights], architecture: str, pretrained: bool | str) -> Weights:
    return records[0] if pretrained is True else get_weights(f"{architecture}.{pretrained}")


__all__ = sorted(list_architectures())  # noqa: PLE0605
globals().update({architecture: entry_point(architecture) for architecture in __all__})
