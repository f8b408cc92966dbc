"""Overrides, and what is said of those that do not exist."""

import pytest
from omegaconf import OmegaConf

from pv_sparse import PvSparseError
from pv_sparse.recipes.config import compose, differences, instantiate, missing_keys


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
        ("experiment=tsn_k", "^experiment=tsn_k is unknown: choose one of .* tsn_k400_r50, "),
        ("model=trn", "^model=trn is unknown: choose one of .* trn_resnet50, .* tsn_tiny$"),
        ("optim.lr", "^Error parsing override 'optim.lr' missing EQUAL at '<EOF>'$"),
        ("optim.lr=${zzz}", "^Interpolation key 'zzz' not found$"),
    ],
)
def test_overrides_that_do_not_exist(override, words):
    with pytest.raises(PvSparseError, match=words) as caught:
        compose("train", ["data.root=there", override])
    assert "\n" not in str(caught.value)


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
