"""Any other classifier as a backbone: torchvision's through its feature extraction, timm's through its own."""

from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor

from pv_sparse.models.backbone import Backbone

# The last map of each family of torchvision. Vision transformers have none: they give tokens.
LAST_TAPS = {
    "alexnet": "features",
    "convnext": "features",
    "densenet": "relu",
    "efficientnet": "features",
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "maxvit": "blocks",
    "mnasnet": "layers",
    "mobilenet": "features",
    "regnet": "trunk_output",
    "shufflenet": "conv5",
    "squeezenet": "features",
    "swin": "permute",
    "vgg": "features",
}
TORCHVISION = tuple(
    name
    for name in torchvision.models.list_models(module=torchvision.models)
    if any(name.startswith(family) for family in LAST_TAPS)
)
# Their builders would otherwise announce a change of the random weights that they start from.
EXPLICIT_INITIALISATION = ("googlenet", "inception_v3")


class ExtractedBackbone(Backbone):
    """A torchvision classifier, cut after the taps: names of its modules, such as `features.4` (`Backbone`)."""

    def __init__(self, name: str, taps: Sequence[str] | None, in_channels: int = 3):
        super().__init__()
        self.taps = tuple(taps) if taps is not None else (_last_tap(name),)
        if name.startswith("swin") and any(tap.startswith(("features", "norm")) for tap in self.taps):
            raise ValueError(f"taps={list(self.taps)} are not allowed for {name}: they have channels last; use permute")
        self.in_channels = in_channels
        net = _build(name)
        set_in_channels(net, in_channels)
        try:
            self.net = _cut_after(net, self.taps)
        except ValueError as error:
            known = ", ".join(child for child, _ in net.named_children())
            raise ValueError(f"taps={list(self.taps)} are not allowed for {name}: name modules in {known}") from error
        kept = self.net.state_dict()
        self.cut = tuple(key for key in net.state_dict() if key not in kept)
        self.tap_channels = self.measure_channels()

    @property
    def as_published(self) -> nn.Module:
        """Its state dict has the keys of the library's own network."""
        return self.net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> one map (N, C', H', W') for each tap."""
        maps = self.net(images)
        return tuple(maps[tap] for tap in self.taps)


class TimmBackbone(Backbone):
    """A network of timm; its taps are the names of its feature maps, `layer4` or `blocks.6` (`Backbone`)."""

    def __init__(self, name: str, taps: Sequence[str] | None, in_channels: int = 3, pretrained: bool = False):
        super().__init__()
        known = _timm_taps(name)
        self.taps = tuple(taps) if taps is not None else tuple(known[-1:])
        if any(tap not in known for tap in self.taps):
            raise ValueError(f"taps={list(self.taps)} are not allowed for timm/{name}: choose among {', '.join(known)}")
        self.in_channels = in_channels
        ordered = sorted(known.index(tap) for tap in self.taps)
        self.net = _timm(name, features_only=True, out_indices=ordered, in_chans=in_channels, pretrained=pretrained)
        self._order = [ordered.index(known.index(tap)) for tap in self.taps]
        info: Any = self.net.feature_info
        channels = info.channels()
        self._has_channels_last = False
        self._has_channels_last = self.measure_channels() != tuple(channels[number] for number in self._order)
        self.tap_channels = self.measure_channels()
        own = self.net.state_dict().keys()
        with torch.device("meta"):
            full = _timm(name).state_dict()
        self.cut = tuple(key for key in full if key not in own and flattened(key) not in own)

    @property
    def as_published(self) -> nn.Module:
        """Its state dict has the keys of the library's own network."""
        return self.net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> one map (N, C', H', W') for each tap."""
        maps = self.net(images)
        chosen = [maps[number] for number in self._order]
        return tuple(m.permute(0, 3, 1, 2) if self._has_channels_last else m for m in chosen)


def flattened(key: str) -> str:
    """What timm's feature extraction makes of some keys: `stem.0.weight` becomes `stem_0.weight`."""
    return key.replace(".", "_", 1)


def set_in_channels(net: nn.Module, in_channels: int) -> None:
    """Give the first convolution of a network with random weights another number of input channels."""
    conv = first_conv(net)
    if conv.in_channels == in_channels:
        return
    conv.in_channels = in_channels
    conv.weight = nn.Parameter(conv.weight.new_empty(conv.out_channels, in_channels, *conv.kernel_size))
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")


def first_conv(net: nn.Module) -> nn.Conv2d:
    """The first convolution of a network, in the order of its modules."""
    conv = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if conv is None or conv.groups != 1:
        raise ValueError(
            f"{type(net).__name__} does not start with an ordinary Conv2d, which could take other channels"
        )
    return conv


def _last_tap(name: str) -> str:
    return next(tap for family, tap in LAST_TAPS.items() if name.startswith(family))


def _build(name: str) -> nn.Module:
    explicit = {"init_weights": True} if name in EXPLICIT_INITIALISATION else {}
    return torchvision.models.get_model(name, weights=None, **explicit)


def _cut_after(net: nn.Module, taps: Sequence[str]) -> nn.Module:
    """Torchvision extracts one graph for training and one for eval; they differ only in auxiliary classifiers."""
    extractor = create_feature_extractor(net.eval(), list(taps), suppress_diff_warning=True)
    return fx.GraphModule(extractor, extractor.eval_graph).train()


def _timm_taps(name: str) -> list[str]:
    with torch.device("meta"):
        net: Any = _timm(name, features_only=True)
    return list(net.feature_info.module_name())


def _timm(name: str, **arguments: Any) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f'backbone="timm/{name}" needs timm: pip install "pv-sparse[timm]"') from error
    try:
        return timm.create_model(name, **arguments)
    except RuntimeError as error:
        near = timm.list_models(f"*{name.split('_', maxsplit=1)[0]}*")[:5]
        raise ValueError(f"timm has no network {name!r} with feature maps ({error}): try {', '.join(near)}") from error
