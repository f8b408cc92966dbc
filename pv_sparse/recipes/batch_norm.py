"""Partial batch norm: statistics and affine parameters of pretrained batch norms stay as they are, and can thaw again.

Wang et al., ECCV 2016, section 3.3: on small data sets, all batch norms but the first keep the mean and variance of
what the network was pretrained on.
"""

from types import TracebackType

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

SCOPES = ("backbone", "model")
BatchNorm = nn.modules.batchnorm._BatchNorm  # 1-D, 2-D, 3-D and synchronised


class FrozenBatchNorm:
    """Batch norms of a model without gradients, to be held in eval mode. A context manager that undoes both.

    They are known by their names, so that it holds where modules are replaced, as by a conversion to synchronised ones.

    Args:
        model: whose batch norms.
        names: of the batch norms, as `model.named_modules()` has them.
    """

    def __init__(self, model: nn.Module, names: list[str]):
        self.model = model
        self.names = names
        self._was_training = {name: norm.training for name, norm in self._norms()}
        self._required_grad = {
            (name, key): parameter.requires_grad
            for name, norm in self._norms()
            for key, parameter in norm.named_parameters(recurse=False)
        }
        for _, norm in self._norms():
            for parameter in norm.parameters(recurse=False):
                parameter.requires_grad_(False)

    def hold(self) -> None:
        """Put them into eval mode; to be called again after a `model.train()`."""
        for _, norm in self._norms():
            if norm.training:
                norm.eval()

    def restore(self) -> None:
        """Give each its former training mode and each parameter its former `requires_grad`; once."""
        for name, norm in self._norms():
            norm.train(self._was_training[name])
            for key, parameter in norm.named_parameters(recurse=False):
                parameter.requires_grad_(self._required_grad[name, key])
        self.names = []

    def __enter__(self) -> "FrozenBatchNorm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()

    def _norms(self) -> list[tuple[str, nn.Module]]:
        return [(name, self.model.get_submodule(name)) for name in self.names]


def freeze_batch_norm(model: nn.Module, keep_first: bool = True, scope: str = "backbone") -> FrozenBatchNorm:
    """Freeze the batch norms of a model: eval mode, and no gradients for their weights and biases.

    Args:
        model: before its optimizer is made, since what is frozen is in no parameter group.
        keep_first: leave the first one, in the order of the modules, as it is; of several backbones, each one's first.
        scope: `backbone`, which is `model.backbone`, or those of models inside `model`; or all of `model`, ECO's 3-D
            network included (the original counts 2-D ones only).

    Returns:
        What holds them, and undoes it by `restore()` or at the end of a `with` block.

    Raises:
        ValueError: an unknown scope, no backbone, or no batch norms.
    """
    frozen = FrozenBatchNorm(model, _chosen(model, keep_first, scope))
    frozen.hold()
    return frozen


class PartialBatchNorm(Callback):
    """`freeze_batch_norm` while a model is trained: from before its optimizer is made until the fit ends or fails.

    What differs from tsn-pytorch: that sets `requires_grad` to False at every call of `train()`, be it `train(False)`,
    and never to True again.

    Args:
        keep_first: leave the first batch norm as it is.
        scope: `backbone` or `model`.

    Raises:
        ValueError: an unknown scope; when a fit begins, a model without batch norms there.
    """

    def __init__(self, keep_first: bool = True, scope: str = "backbone"):
        _check(scope)
        self.keep_first = keep_first
        self.scope = scope
        self.frozen: FrozenBatchNorm | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and self.frozen is None:
            # Held when training begins: Lightning warns of what is in eval mode before.
            self.frozen = FrozenBatchNorm(pl_module, _chosen(pl_module, self.keep_first, self.scope))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        # At each batch, since a validation may have come before any of them.
        if self.frozen is not None:
            self.frozen.hold()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Not `on_fit_end`, which a search for the batch size does not reach.
        self.restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.restore()

    def restore(self) -> None:
        """Give every batch norm its former `requires_grad` and training mode."""
        if self.frozen is not None:
            self.frozen.restore()
            self.frozen = None


def _check(scope: str) -> None:
    if scope not in SCOPES:
        raise ValueError(f"scope={scope!r} is unknown: choose one of {', '.join(SCOPES)}")


def _chosen(model: nn.Module, keep_first: bool, scope: str) -> list[str]:
    """The names of the batch norms to freeze."""
    _check(scope)
    networks = [_norm_names(model, part) for part in (_backbones(model) if scope == "backbone" else [""])]
    if not any(networks):
        raise ValueError(f"the {scope} of the {type(model).__name__} has no batch norm to freeze: leave this out")
    return [name for names in networks for name in names[1 if keep_first else 0 :]]


def _backbones(model: nn.Module) -> list[str]:
    """Their names in the model."""
    owners = [
        name for name, module in model.named_modules() if isinstance(getattr(module, "backbone", None), nn.Module)
    ]
    if not owners:
        raise ValueError(f"a {type(model).__name__} has no backbone: choose scope='model'")
    return [f"{owner}.backbone".removeprefix(".") for owner in owners]


def _norm_names(model: nn.Module, part: str) -> list[str]:
    inside = model.get_submodule(part).named_modules(prefix=part)
    return [name for name, module in inside if isinstance(module, BatchNorm)]
