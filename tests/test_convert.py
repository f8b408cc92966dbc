"""What the originals' files may look like, and what is refused; `test_originals.py` has all of their keys."""

import pytest
import torch

from pv_sparse import WeightsError, create_eco_lite, create_trn, create_tsn
from pv_sparse.zoo.convert import convert, key_map
from pv_sparse.zoo.state_dicts import load_exactly


def published(model, converter: str, their_keys=()) -> dict[str, torch.Tensor]:
    """The tensors of `model` as the original would have saved them."""
    own = model.state_dict()
    state = {theirs: own[ours] for ours, theirs in key_map(converter, own, their_keys).items()}
    return {key: t.flatten(0, 1).t() if t.ndim == 3 else t for key, t in state.items()}


def check(model, state, converter: str) -> None:
    """A second model, filled from `state`, is the first one."""
    own = model.state_dict()
    converted = convert(state, converter, own)
    assert converted.keys() == own.keys()
    for key, tensor in converted.items():
        torch.testing.assert_close(tensor, own[key], rtol=0, atol=0)
    load_exactly(model, converted, "the test", "the model")


def test_files_from_before_pytorch_0_4():
    """BN as (1, C), no counters of batches, and `module.` before every key."""
    model = create_tsn(num_classes=1, backbone="bn_inception")
    state = published(model, "tsn_pytorch")
    old = {
        f"module.{key}": tensor[None] if "_bn." in key else tensor
        for key, tensor in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert old["module.base_model.conv1_7x7_s2_bn.weight"].shape == (1, 64)
    assert old["module.new_fc.weight"].shape == (1, 1024)  # one class, and no BN
    check(model, old, "tsn_pytorch")


@pytest.mark.parametrize("name", ["new_fc", "base_model.fc", "base_model.last_linear"])
def test_the_classifier_of_a_tsn_has_three_names(name):
    """`base_model.fc` where it was built without dropout."""
    model = create_tsn(num_classes=3, backbone="resnet18")
    state = published(model, "tsn_pytorch", {f"{name}.weight"})
    assert f"{name}.weight" in state
    check(model, state, "tsn_pytorch")


@pytest.mark.parametrize("name", ["new_fc", "base_model.fc_final"])
def test_the_classifier_of_eco_has_two_names(name):
    model = create_eco_lite(num_classes=3, width=0.25)
    state = published(model, "eco_pytorch", {f"{name}.weight"})
    assert f"{name}.weight" in state
    check(model, state, "eco_pytorch")


def test_the_originals_without_their_normalisation_and_with_it():
    model = create_tsn(num_classes=3, backbone="resnet18")
    state = published(model, "mmaction2")
    assert "backbone.layer1.0.conv1.conv.weight" in state
    assert "backbone.layer2.0.downsample.bn.running_var" in state
    check(model, state | {"data_preprocessor.mean": torch.zeros(3)}, "mmaction2")


def test_epics_two_largest_scales_share_their_classifier():
    model = create_trn(num_classes={"verb": 3, "noun": 2}, num_segments=4, backbone="resnet18")
    names = key_map("epic", model.state_dict(), ())
    used = {scale: names[f"head.relations.{scale}.classify.verb.weight"] for scale in (4, 3, 2)}
    assert used == {
        4: "consensus.classifiers.0.0.weight",
        3: "consensus.classifiers.0.0.weight",
        2: "consensus.classifiers.1.0.weight",
    }
    assert names["head.relations.3.hidden.weight"] == "consensus.fc_fusion_scales.1.1.weight"


def test_keys_that_are_unknown_or_missing_are_told():
    model = create_tsn(num_classes=3, backbone="resnet18")
    state = published(model, "tsn_pytorch")
    with pytest.raises(
        WeightsError, match=r"the key 'new_fd\.weight' \(1 such\) is unknown to the converter tsn_pytorch"
    ):
        convert(state | {"new_fd.weight": torch.zeros(1)}, "tsn_pytorch", model.state_dict())
    del state["base_model.layer3.0.conv1.weight"]
    with pytest.raises(
        WeightsError, match=r"the key 'base_model\.layer3\.0\.conv1\.weight', for backbone\..* is missing"
    ):
        convert(state, "tsn_pytorch", model.state_dict())
