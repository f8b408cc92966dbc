"""What is read from the names and shapes of an original's tensors, and what files are refused."""

import pickle
from argparse import Namespace
from pathlib import PurePosixPath

import pytest
import torch
from test_convert import published

from pv_sparse import WeightsError, create_tsn, get_weights, list_weights, load_model
from pv_sparse.zoo.detect import describe
from pv_sparse.zoo.loading import BUILDERS, find_weights
from pv_sparse.zoo.state_dicts import Checkpoint, read_checkpoint

# Training says nothing of these, or several entries share one layout.
NOT_IN_TENSORS = ("dropout", "fusion")
ORIGINALS = [
    name
    for name in list_weights()
    if get_weights(name).origin["converter"] != "efficientnet_lite0" and not get_weights(name).unsupported
]
KINDS = {
    (
        weights.build["builder"],
        weights.build["arguments"]["backbone"],
        weights.modality,
        weights.origin["converter"],
    ): name
    for name in ORIGINALS
    if "backbone" in (weights := get_weights(name)).build["arguments"]
}


def build(weights) -> torch.nn.Module:
    """Names and shapes alone."""
    with torch.device("meta"):
        return BUILDERS[weights.build["builder"]](**weights.build["arguments"])


@pytest.mark.parametrize("name", sorted(KINDS.values()))
def test_every_kind_of_file_in_the_zoo_is_recognised(name):
    """From the model of the record to a file of the publisher's, and from that to the same model."""
    weights = get_weights(name)
    state = published(build(weights), weights.origin["converter"], their_keys(weights))
    found = describe(Checkpoint(state, {}), "some.pth")
    expected = {key: value for key, value in weights.build["arguments"].items() if key not in NOT_IN_TENSORS}
    arguments = {key: value for key, value in found["build"]["arguments"].items() if key not in NOT_IN_TENSORS}
    assert found["build"]["builder"] == weights.build["builder"]
    assert arguments == expected
    assert found["origin"]["converter"] == weights.origin["converter"]
    assert {key: found["input"][key] for key in ("resize", "mean", "std", "value_range", "channel_order")} == {
        key: pytest.approx(weights.input[key]) if key in ("mean", "std") else weights.input[key]
        for key in ("resize", "mean", "std", "value_range", "channel_order")
    } or "mm01" in name


def their_keys(weights) -> set[str]:
    """The keys that say which of the publisher's networks it is."""
    if weights.origin["converter"] != "mmaction2":
        return set()
    backbone = weights.build["arguments"]["backbone"]
    if backbone.startswith("swin"):
        return {"backbone.patch_embed.proj.weight"}
    return {"backbone.conv1.conv.weight"} if backbone.startswith("resnet") else {"backbone.conv1.weight"}


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet152", "resnext50_32x4d", "wide_resnet50_2"])
def test_resnets_are_told_apart(backbone):
    with torch.device("meta"):
        state = published(create_tsn(num_classes=5, backbone=backbone), "tsn_pytorch")
    assert describe(Checkpoint(state, {}), "x.pth")["build"]["arguments"]["backbone"] == backbone


@pytest.mark.parametrize("classifier", ["new_fc", "base_model.classifier"])
def test_mobilenets_of_the_tsm_repository(classifier, tmp_path):
    """Its MobileNetV2 counts the layers of a block one by one; its classifier may still be the backbone's."""
    model = create_tsn(num_classes=5, backbone="mobilenet_v2").eval()
    state = published(model, "tsn_pytorch", {"base_model.features.1.conv.3.weight", f"{classifier}.weight"})
    expected = {
        "base_model.features.0.1.bias": 32,
        "base_model.features.1.conv.4.bias": 16,
        "base_model.features.17.conv.3.weight": 960,
        "base_model.features.17.conv.6.weight": 320,
        "base_model.features.17.conv.7.running_var": 320,
        f"{classifier}.weight": 5,
    }
    assert {key: len(state[key]) for key in expected} == expected
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}, tmp_path / "tsm.pth")
    clip = torch.randn(1, 3, 2, 64, 64)
    torch.testing.assert_close(load_model(tmp_path / "tsm.pth")(clip), model(clip), rtol=0, atol=0)


def test_a_relation_head_of_another_size_is_read_from_its_shapes():
    model = BUILDERS["create_trn"](num_classes=5, num_segments=4, backbone="resnet18", features=32, hidden=48)
    arguments = describe(Checkpoint(published(model, "trn_pytorch"), {}), "x.pth")["build"]["arguments"]
    assert (arguments["num_segments"], arguments["features"], arguments["hidden"]) == (4, 32, 48)


@pytest.mark.parametrize("multi_scale", [True, False])
def test_an_epic_file_of_one_task(multi_scale, tmp_path):
    model = BUILDERS["create_trn"](num_classes=7, num_segments=4, backbone="resnet18", multi_scale=multi_scale).eval()
    if multi_scale:  # they share a classifier there
        model.head.relations["4"].classify.load_state_dict(model.head.relations["3"].classify.state_dict())
    torch.save({"state_dict": published(model, "epic")}, tmp_path / "one.pth.tar")
    clip = torch.randn(1, 3, 4, 64, 64)
    torch.testing.assert_close(load_model(tmp_path / "one.pth.tar")(clip), model(clip))


@pytest.mark.slow
def test_swin_transformers_of_either_timm_equal_torchvisions(tmp_path):
    """timm moved what makes maps smaller from the end of a stage to the start of the next."""
    timm = pytest.importorskip("timm", reason='needs timm: pip install "pv-sparse[timm]"')
    net = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0).eval()
    state = {f"backbone.{key}": tensor for key, tensor in net.state_dict().items()}
    state |= {"cls_head.fc_cls.weight": torch.randn(5, 768), "cls_head.fc_cls.bias": torch.randn(5)}
    older = {moved(key): tensor for key, tensor in state.items()}
    assert older.keys() != state.keys()
    images = torch.randn(1, 3, 2, 224, 224)
    with torch.inference_mode():
        features = net(images[0].transpose(0, 1)).mean(dim=0)
        expected = state["cls_head.fc_cls.weight"] @ features + state["cls_head.fc_cls.bias"]
        for number, layout in enumerate((state, older)):
            torch.save({"meta": {}, "state_dict": layout}, tmp_path / f"{number}.pth")
            logits = load_model(tmp_path / f"{number}.pth")(images)[0]
            torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def moved(key: str) -> str:
    head, middle, tail = key.partition(".downsample.")
    if not middle:
        return key
    prefix, _, stage = head.rpartition(".")
    return f"{prefix}.{int(stage) - 1}{middle}{tail}"


def test_a_backbone_alone_says_what_it_is_for(tmp_path):
    model = create_tsn(num_classes=1000, backbone="resnet18")
    state = {key: t for key, t in published(model, "torchvision").items() if not key.startswith("fc.")}
    torch.save(state, tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match="a backbone without a classifier: give it as backbone_weights="):
        load_model(tmp_path / "resnet18.pth")


def test_the_classifier_of_another_number_of_classes_is_new_and_said_so(tmp_path, caplog):
    model = create_tsn(num_classes=5, backbone="resnet18")
    torch.save({"state_dict": published(model, "tsn_pytorch")}, tmp_path / "tsn.pth.tar")
    tuned = load_model(tmp_path / "tsn.pth.tar", num_classes={"verb": 2, "noun": 3})
    assert "tsn, resnet18, rgb, 5 classes (layout: tsn_pytorch)" in caplog.text
    assert "the classifier (4 tensors, such as head.fc.verb.weight) starts from random weights" in caplog.text
    for key, tensor in tuned.backbone.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[key])


# What is refused


class Evil:
    def __reduce__(self):
        return (eval, ("open('/tmp/pv_sparse_evil', 'w')",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"state_dict": {"a": torch.zeros(1)}, "best": Evil()},
            r"it wants (\w+\.)?eval of Python.* was refused: get its state dict",
        ),
        (
            {"state_dict": {"a": torch.zeros(1)}, "path": PurePosixPath("x")},
            r"it wants pathlib\.PurePosixPath of Python",
        ),
        ([torch.zeros(1)], "it holds no state dict"),
        ({"epoch": 3}, "it holds no state dict"),
        ({"weight": torch.zeros(1)}, "its tensors, such as 'weight', are named as in none of the originals"),
        ({"base_model.layer1.0.conv1.net.weight": torch.zeros(1)}, "a network with temporal shift .*TSM"),
        ({"base_model.features.0.weight": torch.zeros(1)}, "its 2-D network is none of those here"),
    ],
)
def test_what_is_no_checkpoint_of_these_is_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "some.pth.tar")
    with pytest.raises(WeightsError, match=words):
        load_model(tmp_path / "some.pth.tar")


def test_nothing_of_a_pickle_is_run(tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=2))
    with pytest.raises(WeightsError, match=r"was refused|damaged"):
        load_model(tmp_path / "evil.pth")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tsn.caffemodel", b"", "files of Caffe are not read here"),
        ("tsn.caffemodel.v5", b"", "files of Caffe are not read here"),
        ("page.pth", b"\n<!DOCTYPE html><html>404</html>", "it is a web page, which was saved in place of the file"),
        ("empty.pth", b"", "it is damaged, or no file of tensors"),
        ("cut.pth.tar", b"PK\x03\x04" + bytes(100), "it is damaged, or no file of tensors"),
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        find_weights(tmp_path / name)


def test_the_options_of_an_epic_file_are_let_through(tmp_path):
    """`argparse.Namespace` is the one class beyond tensors and plain values."""
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Namespace(flow_length=3)}, tmp_path / "epic.pth.tar")
    assert read_checkpoint(tmp_path / "epic.pth.tar").about["args"].flow_length == 3


def test_the_length_of_epics_flow_is_in_its_options():
    model = create_tsn(num_classes={"verb": 3, "noun": 2}, backbone="resnet18", in_channels=2, frames_per_segment=4)
    state = published(model, "epic")
    with pytest.raises(WeightsError, match="takes 8 channels: RGB has 3, flow 10, RGB difference 15"):
        describe(Checkpoint(state, {}), "x.pth")
    found = describe(Checkpoint(state, {"args": Namespace(flow_length=4)}), "x.pth")
    assert found["build"]["arguments"]["frames_per_segment"] == 4
    assert found["sampler"]["frames_per_segment"] == 4


@pytest.mark.parametrize(
    ("backbone", "converter", "their_key"),
    [
        ("resnet18", "mmaction2", "backbone.conv1.conv.weight"),
        pytest.param("densenet121", "mmaction2", "backbone.conv1.weight", marks=pytest.mark.slow),
        pytest.param("swin_t", "mmaction2", "backbone.patch_embed.proj.weight", marks=pytest.mark.slow),
        ("mobilenet_v2", "tsn_pytorch", "base_model.features.1.conv.3.weight"),
        ("bn_inception", "trn_pytorch", ""),
        pytest.param("inception_v3_trn", "tsn_pytorch", "", marks=pytest.mark.slow),
    ],
)
def test_a_model_of_an_original_gives_its_backbone(tmp_path, backbone, converter, their_key):
    """`backbone_weights=` takes the whole file."""
    model = create_tsn(num_classes=3, backbone=backbone)
    torch.save({"state_dict": published(model, converter, {their_key})}, tmp_path / "whole.pth")
    tuned = create_tsn(num_classes=5, backbone=backbone, backbone_weights=tmp_path / "whole.pth")
    for key, tensor in tuned.backbone.state_dict().items():
        torch.testing.assert_close(tensor, model.backbone.state_dict()[key], rtol=0, atol=0)
