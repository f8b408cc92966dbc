"""What users of the host asked for in pretrained weights (numbers of the design's list), as they would write it now."""

import pytest
import torch
from test_convert import published

from pv_sparse import WeightsError, create_trn, create_tsn, get_weights, list_weights, load_model
from pv_sparse.zoo import files

CLIP = torch.linspace(-1, 1, 3 * 4 * 64 * 64).reshape(1, 3, 4, 64, 64)


def saved(path, model, converter: str, **about) -> str:
    torch.save({"state_dict": published(model, converter), **about}, path)
    return str(path)


def test_demand_18_another_number_of_classes(tmp_path, caplog):
    """Everything but the classifier stays, and the classifier is the only thing that is said to be random."""
    model = create_trn(num_classes=3, num_segments=4, backbone="resnet18").eval()
    tuned = load_model(saved(tmp_path / "trn.pth.tar", model, "trn_pytorch"), num_classes=7)
    assert tuned(CLIP).shape == (1, 7)
    kept = [key for key in tuned.state_dict() if ".classify." not in key]
    assert all(torch.equal(tuned.state_dict()[key], model.state_dict()[key]) for key in kept)
    assert "starts from random weights, for num_classes=7 in place of 3" in caplog.text


def test_demand_19_names_and_what_belongs_to_them():
    for name in list_weights():
        weights = get_weights(name)
        assert {"resize", "crop", "mean", "std", "channel_order", "value_range"} <= set(weights.input)
        assert weights.sampling["rule"]
        assert weights.categories
    bgr = get_weights("trn_bninception.csail_sthv1").input
    assert (bgr["channel_order"], bgr["mean"], bgr["value_range"]) == ("BGR", [104.0, 117.0, 128.0], 255.0)


def test_demand_20_without_a_network(tmp_path, monkeypatch):
    model = create_tsn(num_classes=27, backbone="resnet18").eval()
    monkeypatch.setenv(files.OFFLINE, "1")
    monkeypatch.setenv(files.HOME, str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsError, match=r"forbids downloads: put TSM_kinetics_.*\.pth into .*, or set PV_SPARSE"):
        load_model("tsn_r50.mit_k400_1x1x5")
    path = saved(tmp_path / "mine.pth", model, "tsn_pytorch")
    assert torch.equal(load_model(path)(CLIP), model(CLIP))


def test_demand_21_batch_norms_from_before_pytorch_0_4(tmp_path):
    model = create_tsn(num_classes=3, backbone="bn_inception").eval()
    state = {
        f"module.{key}": tensor[None] if "_bn." in key else tensor
        for key, tensor in published(model, "tsn_pytorch").items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "old.pth.tar")
    torch.testing.assert_close(load_model(tmp_path / "old.pth.tar")(CLIP), model(CLIP), rtol=0, atol=0)


@pytest.mark.parametrize("num_segments", [3, 4])
def test_demand_22_segments_consensus_and_network_are_read_from_the_tensors(tmp_path, num_segments, caplog):
    model = create_trn(
        num_classes=5, num_segments=num_segments, multi_scale=num_segments > 3, backbone="resnet34"
    ).eval()
    loaded = load_model(saved(tmp_path / "trn.pth.tar", model, "trn_pytorch"))
    clip = CLIP[:, :, :num_segments]
    torch.testing.assert_close(loaded(clip), model(clip), rtol=0, atol=0)
    scales = "one scale" if num_segments == 3 else "all scales"
    assert f"read as trn of {scales}, resnet34, rgb, {num_segments} segments, 5 classes" in caplog.text


def test_demand_22_keys_that_do_not_fit_are_named(tmp_path):
    model = create_tsn(num_classes=5, backbone="resnet18")
    state = published(model, "tsn_pytorch")
    torch.save({"state_dict": state | {"n_round": torch.zeros(1)}}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"the key 'n_round' \(1 such\) is unknown to the converter tsn_pytorch"):
        load_model(tmp_path / "odd.pth")
    del state["base_model.layer4.1.conv2.weight"]
    torch.save({"state_dict": state}, tmp_path / "short.pth")
    with pytest.raises(WeightsError, match=r"the key 'base_model\.layer4\.1\.conv2\.weight'.* is missing"):
        load_model(tmp_path / "short.pth")


def test_demand_24_how_the_published_figures_were_sampled():
    dense, sparse = (get_weights(f"tsn_r50.mm_k400_{kind}1x1x5") for kind in ("dense_", ""))
    assert (dense.sampling["rule"], sparse.sampling["rule"]) == ("mmaction2_dense", "mmaction2_test")
    assert "windows" in dense.metrics[0]["protocol"]
