"""Overrides, and what is said of those that do not exist."""

import pytest
from omegaconf import DictConfig, OmegaConf

from pv_sparse import PvSparseError
from pv_sparse.recipes.config import compose, differences, instantiate, missing_keys, write_config


def test_overrides_change_the_configuration():
    composed = compose("train", ["experiment=square_trn", "data.root=there", "optim.lr=0.5"])
    assert composed.config.optim.lr == 0.5
    assert composed.config.data.train.root == "there"
    assert composed.config.trainer.max_epochs == 6
    assert "hydra" not in composed.config
    assert composed.name == "square_trn"
    assert compose("train", ["data.root=there"]).name == "tsn_resnet50_folder"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.lrr=1", r"^optim.lrr is no setting: did you mean optim.lr\b"),
        ("zzz=1", "^zzz is no setting: the first parts are activation_checkpointing, .* trainer$"),
        ("experimnt=square_tsn", r"^experimnt is no setting: did you mean experiment\?$"),
        ("trainer.limit_val_batches=2", "^trainer.limit_val_batches is no setting: did you mean trainer"),
        ("experiment=tsn_k", "^experiment=tsn_k is unknown: choose one of .* tsn_k400_r50, "),
        ("model=trn", "^model=trn is unknown: choose one of .* trn_resnet50, .* tsn_tiny, "),
        ("optim.lr", "^Error parsing override 'optim.lr' missing EQUAL at '<EOF>'$"),
        ("optim.lr=${zzz}", "^Interpolation key 'zzz' not found$"),
        ("optim.lr=1,2", "^optim.lr=1,2 is not allowed: one run takes one value of each key; a list is quoted"),
        ("optim.lr=range(1,3)", r"^optim.lr=range\(1,3\) is not allowed: one run takes one value of each key"),
    ],
)
def test_overrides_that_do_not_exist(override, words):
    with pytest.raises(PvSparseError, match=words) as caught:
        compose("train", ["data.root=there", override])
    assert "\n" not in str(caught.value)


def test_what_is_offered_is_of_the_chosen_files():
    """The default model has no number of segments, and another experiment has no such key."""
    with pytest.raises(PvSparseError, match=r"^model.num_segment is no setting: did you mean model.num_segments\b"):
        compose("train", ["experiment=square_trn", "data.root=there", "model.num_segment=4"])
    with pytest.raises(PvSparseError, match=r"^data.splits is no setting: did you mean data.split\b"):
        compose("train", ["data=ucf101", "data.root=there", "data.splits=2", "optim.schedule=step"])
    with pytest.raises(PvSparseError, match=r"^protocol.num_crop is no setting: did you mean protocol.num_crops\b"):
        compose("evaluate", ["protocol=tsn_25x10", "out=x", "protocol.num_crop=1"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.max_epochs=abc", "trainer.max_epochs=abc is not allowed: it takes a whole number, such as 80"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs=1.5 is not allowed: it takes a whole number, such as 80"),
        ("trainer.max_epochs=true", "trainer.max_epochs=true is not allowed: it takes a whole number, such as 80"),
        ("optim.lr=null", "optim.lr=null is not allowed: it takes a number, such as 0.001"),
        ("optim.lr=[1]", r"optim.lr=\[1\] is not allowed: it takes a number, such as 0.001"),
        ("mixup_alpha=x", "mixup_alpha=x is not allowed: it takes a number, such as 0.0"),
        ("resume=yes", "resume=yes is not allowed: it takes true or false"),
        ("compile=1", "compile=1 is not allowed: it takes true or false"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0 is not allowed: it must be a whole number of at least 1"),
        (
            "trainer.accumulate_grad_batches=0",
            "trainer.accumulate_grad_batches=0 is not allowed",
        ),
        ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch=0 is not allowed"),
        (
            "checkpoint_every_steps=-1",
            "checkpoint_every_steps=-1 is not allowed: it must be a whole number of at least 0",
        ),
        ("data.num_workers=-1", "data.num_workers=-1 is not allowed: it must be a whole number of at least 0"),
        ("seed=-1", "seed=-1 is not allowed: it must be a whole number of at least 0"),
        ("mixup_alpha=nan", "mixup_alpha=nan is not allowed: it must be a number of at least 0.0"),
        ("limit_val_videos=abc", "limit_val_videos=abc is not allowed: it must be a whole number of at least 1"),
        (
            "trainer.gradient_clip_val=x",
            "trainer.gradient_clip_val=x is not allowed: it must be a number of at least 0.0",
        ),
        ("limit_train_videos=0", "limit_train_videos=0 is not allowed: it must be a whole number of at least 1"),
    ],
)
def test_values_of_another_kind(override, words):
    with pytest.raises(PvSparseError, match=f"^{words}") as caught:
        compose("train", ["data.root=there", override])
    assert "\n" not in str(caught.value)


def test_what_an_experiment_gives_is_a_kind_too_but_may_be_left_out():
    given = ["experiment=trn_jester", "data.root=there"]
    with pytest.raises(PvSparseError, match=r"^trainer.gradient_clip_val=a is not allowed: it takes a number\b"):
        compose("train", [*given, "trainer.gradient_clip_val=a"])
    left_out = ["trainer.gradient_clip_val=null", "optim.reference_batch_size=null"]
    config = compose("train", [*given, *left_out]).config
    assert config.trainer.gradient_clip_val is config.optim.reference_batch_size is None


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim.lr=1", "optim.warmup_epochs=0.5", "model.dropout=0", "data.batch_size=auto", "trainer.devices=2"],
        ["optim.lr=${mixup_alpha}", "trainer.num_nodes=${trainer.max_epochs}", "ema_decay=0.99", "input.size=64"],
        ["experiment=trn_jester", "trainer.gradient_clip_val=0.5", "input.flip_probability=1"],
        ["launcher=slurm", "launcher.parameters.cpus_per_task=null", "data.train={_target_: mine}"],
    ],
)
def test_values_that_are_of_their_kind(overrides):
    compose("train", ["data.root=there", "out=x", *overrides])


def test_evaluation_takes_several_devices():
    assert compose("evaluate", ["out=x", "devices=[0,1]"]).config.devices == [0, 1]
    with pytest.raises(PvSparseError, match=r"^batch_size=0 is not allowed: it must be a whole number of at least 1$"):
        compose("evaluate", ["out=x", "batch_size=0"])


def test_a_file_of_before_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    write_config(OmegaConf.create({"a": 1, "b": "${a}"}), path)
    assert OmegaConf.load(path) == {"a": 1, "b": 1}

    def killed(*_):
        raise OSError("no space")

    monkeypatch.setattr("pv_sparse.whole_files.os.fsync", killed)
    with pytest.raises(OSError, match="no space"):
        write_config(DictConfig({"a": 2}), path)
    assert OmegaConf.load(path) == {"a": 1, "b": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_values_that_must_be_given():
    with pytest.raises(PvSparseError, match=r"^data.root must be given: add data.root=\.\.\. to the command$"):
        compose("train", [])
    assert missing_keys(compose("train", [], may_miss=True).config) == ["data.root"]


def test_errors_of_what_is_built_are_its_own():
    node = OmegaConf.create({"_target_": "pv_sparse.create_tsn", "num_classes": 2, "backbone": "resnet5"})
    with pytest.raises(ValueError, match=r"^backbone='resnet5' is unknown: did you mean"):
        instantiate(node)
    with pytest.raises(PvSparseError, match=r"pv_sparse.create_tns"):
        instantiate(OmegaConf.create({"_target_": "pv_sparse.create_tns"}))


def test_differences_go_by_key():
    one, other = OmegaConf.create({"a": {"b": 1, "c": [1]}}), OmegaConf.create({"a": {"b": 2, "c": [1]}, "d": None})
    assert differences(one, other) == {"a.b": (1, 2)}
