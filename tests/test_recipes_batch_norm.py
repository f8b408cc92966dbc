"""Frozen batch norms: which, for how long, and as before afterwards."""

import copy

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.tuner.tuning import Tuner
from small_fit import QUIET, SmallModule, loader, trainer
from torch import nn

import pv_sparse as pvs
from pv_sparse.recipes.batch_norm import PartialBatchNorm, freeze_batch_norm

pytestmark = pytest.mark.filterwarnings(*QUIET)


def norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def state(model: nn.Module) -> list:
    modes = [module.training for module in model.modules()]
    return [modes, [parameter.requires_grad for parameter in model.parameters()]]


def is_frozen(norm: nn.Module) -> bool:
    return not norm.training and not any(parameter.requires_grad for parameter in norm.parameters())


@pytest.mark.parametrize("keep_first", [True, False])
def test_all_but_the_first_are_frozen(keep_first):
    model = pvs.create_tsn(num_classes=3, backbone="resnet18")
    freeze_batch_norm(model, keep_first)
    found = [is_frozen(norm) for norm in norms(model)]
    assert found == [not keep_first] + [True] * 19
    assert all(parameter.requires_grad for parameter in model.head.parameters())


def test_the_first_is_the_one_that_images_meet_first():
    model = pvs.create_tsn(num_classes=3, backbone="mobilenet_v3_small")
    freeze_batch_norm(model)
    assert [is_frozen(norm) for norm in norms(model)][:2] == [False, True]
    assert not is_frozen(model.get_submodule("backbone.net.features.0.1"))


@pytest.mark.parametrize(("scope", "is_3d_frozen"), [("backbone", False), ("model", True)])
def test_3d_norms_are_of_the_model_and_not_of_the_backbone(scope, is_3d_frozen):
    model = pvs.create_eco_lite(num_classes=3, backbone="tiny", width=0.125)
    freeze_batch_norm(model, scope=scope)
    in_head = norms(model.head)
    assert len(in_head) == 11
    assert [is_frozen(norm) for norm in in_head] == [is_3d_frozen] * 11


def test_a_model_of_3d_convolutions_alone():
    model = pvs.C3DResNet18(num_classes=3)
    with freeze_batch_norm(model, keep_first=False, scope="model"):
        assert all(map(is_frozen, norms(model)))


def test_each_backbone_of_several_keeps_its_first():
    models = {name: pvs.create_tsn(num_classes=3, backbone="tiny") for name in ("rgb", "flow")}
    fusion = pvs.LateFusion(models)
    freeze_batch_norm(fusion)
    assert [is_frozen(norm) for norm in norms(fusion)] == [False, True, True, True, True] * 2


def test_statistics_and_weights_stay_in_training():
    model = pvs.create_tsn(num_classes=3, backbone="tiny")
    before = copy.deepcopy(model.backbone.state_dict())
    frozen = freeze_batch_norm(model)
    model.train()
    frozen.hold()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    model(torch.randn(2, 3, 2, 32, 32)).square().sum().backward()
    optimizer.step()
    changed = {name for name, tensor in model.backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {f"stage1.1.{key}" for key in ("running_mean", "running_var", "weight", "bias")} <= changed
    assert not any(name.startswith(("stage2.1.", "stage3.1.", "stage4.1.", "stage5.1.")) for name in changed)


def test_restoring_gives_every_flag_back():
    model = pvs.create_tsn(num_classes=3, backbone="tiny")
    model.backbone.stage2[1].weight.requires_grad_(False)
    model.backbone.stage3[1].eval()
    before = state(model)
    with freeze_batch_norm(model) as frozen:
        assert state(model) != before
    assert state(model) == before
    model.backbone.stage4[1].eval()
    frozen.restore()
    assert not model.backbone.stage4[1].training, "it is undone once"


def test_synchronised_norms_take_the_place_of_others():
    model = pvs.create_tsn(num_classes=3, backbone="tiny")
    before = state(model)
    frozen = freeze_batch_norm(model)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    converted.train()
    frozen.hold()
    assert [is_frozen(norm) for norm in norms(converted)] == [False, True, True, True, True]
    frozen.restore()
    assert state(converted) == before


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (lambda: pvs.create_tsn(num_classes=3, backbone="tiny"), {"scope": "head"}, "scope='head' is unknown: choose"),
        (lambda: pvs.C3DResNet18(num_classes=3), {}, "a C3DResNet18 has no backbone: choose scope='model'"),
        (lambda: pvs.create_tsn(num_classes=3, backbone="squeezenet1_0"), {}, "has no batch norm to freeze"),
    ],
)
def test_mistakes(model, arguments, words):
    with pytest.raises(ValueError, match=words):
        freeze_batch_norm(model(), **arguments)


# In a fit


class Watch(Callback):
    """What is frozen when batches begin, and what the optimizer has."""

    def __init__(self):
        self.frozen: list[list[bool]] = []
        self.num_optimized = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.frozen.append([is_frozen(norm) for norm in norms(pl_module)])
        self.num_optimized = sum(len(group["params"]) for group in trainer.optimizers[0].param_groups)


class Thawing(SmallModule):
    """Puts everything into training mode wherever it can, as old Lightning did."""

    def on_train_epoch_start(self):
        self.train()

    def on_validation_model_train(self):
        self.train()


@pytest.mark.parametrize("module", [SmallModule, Thawing])
def test_it_holds_for_the_whole_fit_and_no_longer(module):
    lightning_module, watch = module(), Watch()
    before = state(lightning_module)
    num_parameters = len(list(lightning_module.parameters()))
    fit = trainer(callbacks=[PartialBatchNorm(), watch], val_check_interval=1)
    fit.fit(lightning_module, loader(), loader())
    assert watch.frozen == [[False, True, True, True, True]] * 4
    assert watch.num_optimized == num_parameters - 8
    assert state(lightning_module) == before


def test_a_fit_that_fails_leaves_nothing_frozen():
    class Failing(SmallModule):
        def training_step(self, batch, batch_idx):
            raise RuntimeError("out of luck")

    module = Failing()
    before = state(module)
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer(callbacks=PartialBatchNorm()).fit(module, loader(), loader())
    assert state(module) == before


def test_a_search_for_the_batch_size_leaves_nothing_frozen(tmp_path):
    class Data(LightningDataModule):
        batch_size = 2

        def train_dataloader(self):
            return loader(batch_size=self.batch_size)

        def val_dataloader(self):
            return loader()

    module = SmallModule()
    before = state(module)
    search = Tuner(trainer(callbacks=PartialBatchNorm(), default_root_dir=tmp_path))
    search.scale_batch_size(module, datamodule=Data(), steps_per_trial=1, max_trials=1)
    assert state(module) == before


def test_without_it_a_second_fit_trains_all():
    module, watch = SmallModule(), Watch()
    trainer(callbacks=PartialBatchNorm(), max_epochs=1).fit(module, loader(), loader())
    trainer(callbacks=watch, max_epochs=1).fit(module, loader(), loader())
    assert watch.frozen == [[False] * 5] * 2
    assert watch.num_optimized == len(list(module.parameters()))


def test_an_unknown_scope_is_told_before_a_fit():
    with pytest.raises(ValueError, match="scope='all' is unknown: choose one of backbone, model"):
        PartialBatchNorm(scope="all")
