"""The moving average of the weights: its values, where it is used, and that it survives a stop."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from small_fit import QUIET, SmallModule, loader, trainer
from torch import Tensor, nn

import pv_sparse as pvs
from pv_sparse.recipes.averaging import CURRENT_STATE, ExponentialAverage

pytestmark = pytest.mark.filterwarnings(*QUIET, "ignore:Checkpoint directory .* exists and is not empty")
HEAD = "model.head.fc.weight"


class History(Callback):
    """All tensors of the module after each step."""

    def __init__(self):
        self.states: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.states.append({key: tensor.clone() for key, tensor in pl_module.state_dict().items()})


def fit(module: SmallModule, *callbacks: Callback, ckpt_path: Path | None = None, **arguments):
    made = trainer(callbacks=list(callbacks), **arguments)
    made.fit(module, loader(), loader(), ckpt_path=ckpt_path, weights_only=True if ckpt_path else None)
    return made


def module_of(seed: int = 0) -> SmallModule:
    torch.manual_seed(seed)
    return SmallModule(pvs.create_tsn(num_classes=3, backbone="tiny", dropout=0.0))


def averages(states: list[dict[str, Tensor]], decay: float, warm_up: bool) -> dict[str, Tensor]:
    """By the formula, in float64; integers are the last."""
    found = {key: tensor.double() for key, tensor in states[0].items()}
    for step, state in enumerate(states[1:], start=1):
        share = min(decay, (1 + step) / (10 + step)) if warm_up else decay
        found = {key: share * found[key] + (1 - share) * tensor.double() for key, tensor in state.items()}
    return {key: states[-1][key] if not states[-1][key].is_floating_point() else found[key] for key in found}


@pytest.mark.parametrize(("decay", "warm_up"), [(0.9, False), (0.5, True), (0.999, True)])
def test_the_model_ends_with_the_average(decay, warm_up):
    module, history = module_of(), History()
    fit(module, history, ExponentialAverage(decay, warm_up))
    assert len(history.states) == 4
    expected = averages(history.states, decay, warm_up)
    for key, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor.double(), expected[key].double(), rtol=1e-5, atol=1e-6, msg=key)
    assert not torch.equal(module.state_dict()[HEAD], history.states[-1][HEAD])
    assert module.state_dict()["model.backbone.stage1.1.num_batches_tracked"] == 4


def test_validation_sees_the_average_and_training_does_not():
    module, history = module_of(), History()
    fit(module, history, ExponentialAverage(0.5, warm_up=False))
    expected = averages(history.states[:2], 0.5, False)[HEAD]
    after_first_epoch = module.seen[2]  # after two batches of the sanity check
    torch.testing.assert_close(after_first_epoch.double(), expected, rtol=1e-5, atol=1e-7)
    plain, without = module_of(), History()
    fit(plain, without)
    torch.testing.assert_close(history.states[-1], without.states[-1], rtol=0, atol=0)


def test_tables_of_integers_are_not_averaged():
    """With 0.9, Lightning's own makes 2 of the tuples' 3."""
    model = pvs.create_trn(num_classes=3, num_segments=4, backbone="tiny")
    before = [relation.tuples.clone() for relation in model.head.relations.values()]
    module = SmallModule(model)
    module.validation_step = lambda batch, batch_idx: None
    trainer(callbacks=ExponentialAverage(0.9)).fit(module, loader(num_segments=4), loader(num_segments=4))
    assert [relation.tuples.tolist() for relation in model.head.relations.values()] == [t.tolist() for t in before]


def test_checkpoints_have_the_average_and_the_weights(tmp_path):
    module, history = module_of(), History()
    fit(module, history, ExponentialAverage(0.5, False), ModelCheckpoint(tmp_path, "last"), enable_checkpointing=True)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    torch.testing.assert_close(checkpoint[CURRENT_STATE], history.states[-1], rtol=0, atol=0)
    torch.testing.assert_close(checkpoint["state_dict"], dict(module.state_dict()), rtol=0, atol=0)
    assert checkpoint["averaging_state"]["n_averaged"] == 4
    fresh = module_of(seed=1)
    fresh.load_state_dict(checkpoint["state_dict"])
    torch.testing.assert_close(dict(fresh.state_dict()), dict(module.state_dict()), rtol=0, atol=0)


def test_a_run_that_goes_on_ends_equal_to_the_bit(tmp_path):
    class Stop(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 2:
                trainer.save_checkpoint(tmp_path / "stopped.ckpt")
                raise RuntimeError("killed")

    whole, history = module_of(), History()
    fit(whole, history, ExponentialAverage(0.9))
    with pytest.raises(RuntimeError, match="killed"):
        fit(module_of(), ExponentialAverage(0.9), Stop())
    again, rest = module_of(seed=5), History()
    fit(again, rest, ExponentialAverage(0.9), ckpt_path=tmp_path / "stopped.ckpt")
    assert len(rest.states) == 2
    torch.testing.assert_close(rest.states[-1], history.states[-1], rtol=0, atol=0)
    torch.testing.assert_close(dict(again.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


def test_a_test_after_the_fit_has_the_checkpoints_average(tmp_path):
    module = module_of()
    made = fit(module, ExponentialAverage(0.5, False), ModelCheckpoint(tmp_path, "last"), enable_checkpointing=True)
    average = module.state_dict()[HEAD].clone()
    module.seen.clear()
    made.test(module, loader(), ckpt_path=tmp_path / "last.ckpt", weights_only=True, verbose=False)
    made.validate(module, loader(), ckpt_path=tmp_path / "last.ckpt", weights_only=True, verbose=False)
    assert len(module.seen) == 4
    for weights in module.seen:
        torch.testing.assert_close(weights, average, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used")
def test_a_trainer_that_never_fitted_evaluates_the_average(tmp_path):
    module = module_of()
    fit(module, ExponentialAverage(0.5, False), ModelCheckpoint(tmp_path, "last"), enable_checkpointing=True)
    other = module_of(seed=1)
    evaluating = trainer(callbacks=ExponentialAverage(0.5, False))
    evaluating.validate(other, loader(), ckpt_path=tmp_path / "last.ckpt", weights_only=True, verbose=False)
    torch.testing.assert_close(other.seen[0], module.state_dict()[HEAD], rtol=0, atol=0)


def test_a_validation_that_fails_leaves_both_where_they_belong(tmp_path):
    class Failing(SmallModule):
        def validation_step(self, batch, batch_idx):
            if self.global_step:
                raise RuntimeError("no disk")

    torch.manual_seed(0)
    module, history = Failing(pvs.create_tsn(num_classes=3, backbone="tiny", dropout=0.0)), History()
    keep = ModelCheckpoint(tmp_path, "failed", save_on_exception=True)
    with pytest.raises(RuntimeError, match="no disk"):
        fit(module, history, ExponentialAverage(0.5, False), keep, enable_checkpointing=True)
    checkpoint = torch.load(tmp_path / "failed.ckpt", weights_only=True)
    torch.testing.assert_close(checkpoint[CURRENT_STATE], history.states[-1], rtol=0, atol=0)
    expected = averages(history.states, 0.5, False)[HEAD]
    torch.testing.assert_close(checkpoint["state_dict"][HEAD].double(), expected, rtol=1e-5, atol=1e-7)


def test_accumulated_batches_are_one_step():
    module, callback = module_of(), ExponentialAverage(0.5)
    fit(module, callback, accumulate_grad_batches=2)
    assert callback.state_dict() == {"latest_update_step": 2}


def test_constants_do_not_drift():
    class WithConstant(SmallModule):
        def __init__(self, model: nn.Module):
            super().__init__(model)
            self.register_buffer("weights", torch.tensor([0.1, 0.3]), persistent=False)

    module = WithConstant(pvs.create_tsn(num_classes=3, backbone="tiny"))
    fit(module, ExponentialAverage(0.9))
    assert torch.equal(module.weights, torch.tensor([0.1, 0.3]))


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2, "x", None, True])
def test_mistakes(decay):
    with pytest.raises(ValueError, match=f"decay={decay!r} is not allowed: it must be a number of at least 0"):
        ExponentialAverage(decay)
