"""Learning rates, epoch by epoch, and that they go on where they were."""

import math

import pytest
import torch
from small_fit import QUIET, SmallModule, loader, trainer
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR

from pv_sparse.recipes.optimization import Optimization


def layers() -> nn.Module:
    """The first convolution, a norm and a classifier: four groups of the policy `tsn`."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Linear(4, 2))


def rates(made: dict, steps: int, group: int = 0, metrics: list[float] | None = None) -> list[float]:
    """The learning rate at the start, and after each step but the last."""
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    found = []
    for number in range(steps):
        found.append(optimizer.param_groups[group]["lr"])
        optimizer.step()
        scheduler.step(*([] if metrics is None else [metrics[number]]))
    return found


def create(optimization: Optimization, max_epochs: int = 10, batch_size: int = 8, **arguments) -> dict:
    return optimization.create(layers(), max_epochs=max_epochs, batch_size=batch_size, **arguments)


def test_steps():
    made = create(Optimization(lr=0.01, milestones=[2, 4]))
    assert rates(made, 6) == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001], rel=1e-12)
    assert made["lr_scheduler"]["interval"] == "epoch"
    assert "monitor" not in made["lr_scheduler"]


def test_every_group_keeps_its_factor():
    made = create(Optimization(lr=0.01, milestones=[1]))
    names = [group["name"] for group in made["optimizer"].param_groups]
    assert names == ["first_conv_weight", "weight", "bias", "norm"]
    assert rates(made, 2, group=2) == pytest.approx([0.02, 0.002], rel=1e-12)
    assert [group["weight_decay"] for group in made["optimizer"].param_groups] == [5e-4, 5e-4, 0, 0]


def test_steps_are_pytorchs():
    found = rates(create(Optimization(lr=0.1, milestones=[30, 60], gamma=0.5), max_epochs=80), 80)
    optimizer = torch.optim.SGD(layers().parameters(), lr=0.1)
    scheduler = MultiStepLR(optimizer, [30, 60], gamma=0.5)
    assert found == pytest.approx(rates({"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}, 80))


def test_cosine_is_pytorchs():
    found = rates(create(Optimization(lr=0.1, schedule="cosine", min_lr_ratio=0.1), max_epochs=20), 20)
    optimizer = torch.optim.SGD(layers().parameters(), lr=0.1)
    scheduler = CosineAnnealingLR(optimizer, T_max=20, eta_min=0.01)
    assert found == pytest.approx(rates({"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}, 20))


def test_warm_up_is_linear():
    found = rates(create(Optimization(lr=0.5, schedule="constant", warmup_epochs=4)), 7)
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5], rel=1e-12)
    optimizer = torch.optim.SGD(layers().parameters(), lr=0.5)
    scheduler = LinearLR(optimizer, start_factor=1 / 5, total_iters=4)
    assert found == pytest.approx(rates({"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}, 7))


def test_warm_up_before_cosine():
    found = rates(create(Optimization(lr=1.0, schedule="cosine", warmup_epochs=1), max_epochs=5), 6)
    falling = [(1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert found == pytest.approx([0.5, *falling, 0.0], abs=1e-12)


def test_warm_up_counts_among_the_epochs_of_milestones():
    found = rates(create(Optimization(lr=1.0, warmup_epochs=2, milestones=[3])), 5)
    assert found == pytest.approx([1 / 3, 2 / 3, 1.0, 0.1, 0.1])


def test_by_step_warm_up_and_cosine_are_smooth():
    made = create(Optimization(lr=1.0, schedule="cosine", warmup_epochs=1), max_epochs=2, steps_per_epoch=3)
    falling = [(1 + math.cos(math.pi * step / 3)) / 2 for step in range(3)]
    assert rates(made, 6) == pytest.approx([0.25, 0.5, 0.75, *falling])
    assert made["lr_scheduler"]["interval"] == "step"


def test_by_step_milestones_are_epochs_still():
    made = create(Optimization(lr=1.0, milestones=[1, 2]), max_epochs=3, steps_per_epoch=2)
    assert rates(made, 6) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_least_learning_rate():
    found = rates(create(Optimization(lr=1.0, milestones=[1, 2], min_lr_ratio=0.05)), 3)
    assert found == pytest.approx([1.0, 0.1, 0.05])


def test_plateau_falls_after_as_many_epochs_without_a_new_best():
    made = create(Optimization(lr=0.01, schedule="plateau", patience=3))
    accuracy = [0.1, 0.3, 0.2, 0.3, 0.3, 0.2, 0.2, 0.2, 0.4, 0.4, 0.4, 0.4]
    found = rates(made, len(accuracy), metrics=accuracy)
    # The best, 0.3, is of the second epoch; three without a better one end with the fifth.
    assert found == pytest.approx([0.01] * 5 + [0.001] * 3 + [0.0001] * 4, rel=1e-9)
    assert made["lr_scheduler"]["monitor"] == "val/top1"
    assert made["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-5)


def test_the_smallest_gain_is_a_new_best():
    made = create(Optimization(lr=0.01, schedule="plateau", patience=1))
    assert rates(made, 4, metrics=[0.5, 0.500001, 0.500002, 0.500003]) == [0.01] * 4


def test_plateau_has_a_least_learning_rate_for_each_group():
    made = create(Optimization(lr=0.01, schedule="plateau", patience=1, min_lr_ratio=0.05))
    rates(made, 5, metrics=[0.5] * 5)
    assert [group["lr"] for group in made["optimizer"].param_groups] == pytest.approx([5e-4, 5e-4, 1e-3, 5e-4])


@pytest.mark.parametrize(
    "optimization",
    [
        Optimization(lr=0.1, milestones=[2, 5]),
        Optimization(lr=0.1, schedule="cosine", warmup_epochs=3, optimizer="adamw", policy="no_norm_decay"),
        Optimization(lr=0.1, schedule="plateau", patience=2),
        Optimization(lr=0.1, schedule="constant", warmup_epochs=2),
    ],
    ids=lambda optimization: optimization.schedule,
)
def test_a_run_that_goes_on_has_the_rates_of_one_that_did_not_stop(optimization):
    metrics = [0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3]
    given = metrics if optimization.schedule == "plateau" else None
    whole = rates(create(optimization), 8, metrics=given)
    first, second = create(optimization), create(optimization)
    before = rates(first, 4, metrics=given)
    for part in ("optimizer", "lr_scheduler"):
        states = [made[part] if part == "optimizer" else made[part]["scheduler"] for made in (first, second)]
        states[1].load_state_dict(states[0].state_dict())
    after = rates(second, 4, metrics=None if given is None else metrics[4:])
    assert before + after == whole


@pytest.mark.parametrize(("reference", "expected"), [(None, 0.01), (256, 0.01 * 64 / 256), (32, 0.02)])
def test_the_rate_is_scaled_to_the_batch(reference, expected):
    optimization = Optimization(lr=0.01, schedule="constant", reference_batch_size=reference)
    assert optimization.learning_rate(64) == pytest.approx(expected)
    assert rates(create(optimization, batch_size=64), 1) == pytest.approx([expected])


def test_optimizers_get_their_values():
    sgd = create(Optimization(lr=0.1, momentum=0.8, nesterov=True, schedule="constant"))["optimizer"]
    assert isinstance(sgd, torch.optim.SGD)
    assert {(group["momentum"], group["nesterov"], group["dampening"]) for group in sgd.param_groups} == {
        (0.8, True, 0)
    }
    adamw = create(Optimization(lr=0.1, optimizer="adamw", betas=[0.8, 0.9], weight_decay=0.05, schedule="constant"))[
        "optimizer"
    ]
    assert isinstance(adamw, torch.optim.AdamW)
    assert {group["betas"] for group in adamw.param_groups} == {(0.8, 0.9)}


@pytest.mark.filterwarnings(*QUIET)
def test_lightning_takes_and_steps_it():
    class Learning(SmallModule):
        def configure_optimizers(self):
            self.rates = []
            optimization = Optimization(lr=1.0, schedule="plateau", patience=1)
            return optimization.create(self.model, max_epochs=3, batch_size=4)

        def on_train_epoch_start(self):
            self.rates.append(self.optimizers().param_groups[0]["lr"])

        def on_validation_epoch_end(self):
            self.log("val/top1", 0.5)

    module = Learning()
    trainer(max_epochs=3).fit(module, loader(), loader())
    assert module.rates == pytest.approx([1.0, 1.0, 0.1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"optimizer": "adam"}, "optimizer='adam' is unknown: choose one of sgd, adamw"),
        ({"schedule": "linear"}, "schedule='linear' is unknown: choose one of step, plateau, cosine, constant"),
        ({"policy": "caffe"}, "policy='caffe' is unknown: choose one of tsn"),
        ({"lr": 0}, "lr=0 is not allowed: it must be a number above 0"),
        ({"lr": math.nan}, "lr=nan is not allowed"),
        ({"lr": "abc"}, "lr='abc' is not allowed: it must be a number above 0"),
        ({"lr": None}, "lr=None is not allowed: it must be a number above 0"),
        ({"weight_decay": "x"}, "weight_decay='x' is not allowed: it must be a number of at least 0"),
        ({"momentum": True}, "momentum=True is not allowed: it must be a number of at least 0 and below 1"),
        ({"nesterov": "no"}, "nesterov='no' is not allowed: it must be True or False"),
        ({"betas": 0.9}, r"betas=0.9 are not allowed: give a list of numbers, such as \[0.9, 0.999\]"),
        ({"milestones": 30}, r"milestones=30 are not allowed: give a list of numbers, such as \[30, 60\]"),
        ({"milestones": "30"}, "milestones='30' are not allowed: give a list of numbers"),
        ({"milestones": ["a"]}, r"milestones=\['a'\] are not allowed: give a list of numbers"),
        ({"gamma": "x"}, "gamma='x' is not allowed: it must be a number above 0 and below 1"),
        ({"patience": 1.5}, "patience=1.5 is not allowed: it must be a whole number of at least 1"),
        ({"min_lr_ratio": None}, "min_lr_ratio=None is not allowed: it must be a number from 0 to 1"),
        ({"warmup_epochs": "x"}, "warmup_epochs='x' is not allowed: it must be a number of at least 0"),
        ({"reference_batch_size": "x"}, "reference_batch_size='x' is not allowed: it must be a whole number above 0"),
        ({"weight_decay": -1}, "weight_decay=-1 is not allowed"),
        ({"momentum": 1}, "momentum=1 is not allowed"),
        ({"momentum": 0, "nesterov": True}, "nesterov=True needs a momentum above 0"),
        ({"betas": (0.9, 1.0)}, r"betas=\(0.9, 1.0\) are not allowed"),
        ({"milestones": []}, r"milestones=\[\] are not allowed: give epochs"),
        ({"milestones": [30, 20]}, r"milestones=\[30, 20\] are not allowed: give epochs above 0 in rising order"),
        ({"gamma": 1}, "gamma=1 is not allowed"),
        ({"patience": 0}, "patience=0 is not allowed"),
        ({"min_lr_ratio": 2}, "min_lr_ratio=2 is not allowed"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1 is not allowed"),
        ({"schedule": "plateau", "warmup_epochs": 1}, "warmup_epochs=1 is not allowed with schedule='plateau'"),
        ({"reference_batch_size": 0}, "reference_batch_size=0 is not allowed"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(ValueError, match=words):
        Optimization(**{"lr": 0.1, "milestones": [30]} | arguments)


def test_a_warm_up_that_never_ends():
    with pytest.raises(ValueError, match="warmup_epochs=5 must be less than max_epochs=5"):
        create(Optimization(lr=0.1, schedule="cosine", warmup_epochs=5), max_epochs=5)
