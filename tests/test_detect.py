"""What is read from the names and shapes of an original's tensors, and what files are refused."""

import contextlib
import pickle
import random
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
import torch
import torchvision
from test_convert import published

from pv_sparse import WeightsError, create_tsn, get_weights, list_weights, load_model
from pv_sparse.zoo.detect import describe
from pv_sparse.zoo.loading import BUILDERS, find_weights
from pv_sparse.zoo.state_dicts import Checkpoint, read_checkpoint

# Training says nothing of these, or several entries share one layout.
NOT_IN_TENSORS = ("dropout", "fusion")
INPUT = ("resize", "mean", "std", "value_range", "channel_order")
ORIGINALS = [
    name
    for name in list_weights()
    if get_weights(name).origin.get("converter", "efficientnet_lite0") != "efficientnet_lite0"  # those of originals
    and not get_weights(name).unsupported
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


def slow_if_large(name: str) -> list:
    return [pytest.mark.slow] if any(word in name for word in ("densenet", "swin", "101", "inception")) else []


def build(weights) -> torch.nn.Module:
    """Names and shapes alone."""
    with torch.device("meta"):
        return BUILDERS[weights.build["builder"]](**weights.build["arguments"])


@pytest.mark.parametrize("name", [pytest.param(name, marks=slow_if_large(name)) for name in sorted(KINDS.values())])
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
    if weights.origin["converter"] != "torchvision":  # whose second recipe tests with another scale
        assert {key: found["input"][key] for key in INPUT} == {
            key: pytest.approx(weights.input[key]) if key in ("mean", "std") else weights.input[key] for key in INPUT
        }


def their_keys(weights) -> set[str]:
    """The keys that say which of the publisher's networks it is."""
    if weights.origin["converter"] != "mmaction2":
        return set()
    backbone = weights.build["arguments"]["backbone"]
    if backbone.startswith("swin"):
        return {"backbone.patch_embed.proj.weight"}
    return {"backbone.conv1.conv.weight"} if backbone.startswith("resnet") else {"backbone.conv1.weight"}


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnext50_32x4d"])
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


@pytest.mark.parametrize("converter", ["trn_pytorch", "epic", "mmaction2"])
def test_two_segments_have_a_list_of_one_scale(converter, tmp_path):
    model = BUILDERS["create_trn"](num_classes=5, num_segments=2, backbone="resnet18").eval()
    home = "cls_head.consensus" if converter == "mmaction2" else "consensus"
    state = published(model, converter, {f"{home}.fc_fusion_scales.0.1.weight"})
    assert f"{home}.fc_fusion_scales.0.1.weight" in state
    torch.save({"state_dict": state}, tmp_path / "two.pth")
    clip = torch.randn(1, 3, 2, 64, 64)
    torch.testing.assert_close(load_model(tmp_path / "two.pth")(clip), model(clip), rtol=0, atol=0)


@pytest.mark.slow
def test_densenets_of_mmaction2_are_read_before_their_last_relu(tmp_path):
    """torchvision's has one; mmaction2 pools `features` alone."""
    net = torchvision.models.densenet121().eval()
    state = {f"backbone.{key}": tensor for key, tensor in net.state_dict().items() if key.startswith("features")}
    state |= {"cls_head.fc_cls.weight": torch.randn(5, 1024), "cls_head.fc_cls.bias": torch.randn(5)}
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "dense.pth")
    images = torch.randn(1, 3, 2, 64, 64)
    with torch.inference_mode():
        features = net.features(images[0].transpose(0, 1)).mean(dim=(0, 2, 3))
        expected = state["cls_head.fc_cls.weight"] @ features + state["cls_head.fc_cls.bias"]
        logits = load_model(tmp_path / "dense.pth")(images)[0]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_classifier_of_c3dres18_without_dropout(tmp_path):
    model = BUILDERS["C3DResNet18"](num_classes=5).eval()
    torch.save({"state_dict": published(model, "eco_pytorch", {"base_model.fc8.weight"})}, tmp_path / "c3d.pth")
    loaded = load_model(tmp_path / "c3d.pth")
    assert torch.equal(loaded.fc.weight, model.fc.weight)


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"model_type": "tsm-nl"}, "it says that it is a tsm-nl, and temporal shift is not here"),
        ({"consensus_type": "identity"}, "its segments agree by 'identity': avg and max are here"),
        ({"meta": {"config": "model=dict(backbone=dict(type='C2D', depth=50))"}}, "says type='C2D', which is not here"),
        ({"meta": {"cfg": "backbone=dict(depth=50, style='caffe')"}}, "says style='caffe', which is not here"),
    ],
)
def test_what_a_file_says_of_itself_counts(about, words):
    state = published(create_tsn(num_classes=5, backbone="resnet18"), "mmaction2")
    with pytest.raises(WeightsError, match=words):
        describe(Checkpoint(state, about), "x.pth")


def test_segments_that_agree_by_their_largest():
    state = published(create_tsn(num_classes={"verb": 3, "noun": 2}, backbone="resnet18"), "epic")
    found = describe(Checkpoint(state, {"model_type": "tsn", "consensus_type": "max"}), "x.pth")
    assert found["build"]["arguments"]["consensus"] == "max"


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
    assert "where it does not fit, the classifier starts from random weights" in caplog.text
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
        ({"backbone.layer1.0.conv1.conv.net.weight": torch.zeros(1)}, "a network with temporal shift"),
        ({"features.0.0.weight": torch.zeros(1)}, "a network of torchvision alone: give it as backbone_weights="),
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


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("is_zip", [True, False])
def test_pickles_of_another_protocol_are_told(tmp_path, is_zip):
    path = tmp_path / "new.pth"
    torch.save({"a": torch.zeros(1)}, path, pickle_protocol=4, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match="it is pickled by protocol 4, of which torch does not read all safely"):
        load_model(path)


def test_what_others_allowed_stays_allowed(tmp_path):
    """torch's list of classes is one for the process."""
    path = tmp_path / "epic.pth.tar"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Namespace(flow_length=3)}, path)
    with ThreadPoolExecutor(8) as pool:
        assert {content.about["args"].flow_length for content in pool.map(read_checkpoint, [path] * 64)} == {3}
    assert Namespace not in torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([Namespace]):
        read_checkpoint(path)
        assert Namespace in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("is_zip", [True, False])
def test_damaged_pickles_are_one_error(tmp_path, is_zip):
    """Bytes turned anywhere, in files of today and in those that the originals wrote."""
    path = tmp_path / "damaged.pth"
    state = {f"layer{number}.weight": torch.zeros(2, 3) for number in range(5)}
    torch.save({"epoch": 3, "state_dict": state}, path, _use_new_zipfile_serialization=is_zip)
    whole, draws = path.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draws.randint(1, 20)):
            damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        path.write_bytes(damaged[: draws.choice([len(whole), draws.randrange(len(whole))])])
        with contextlib.suppress(WeightsError):
            read_checkpoint(path)


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
    ("converter", "their_key"),
    [("mmaction2", "backbone.conv1.conv.weight"), ("tsn_pytorch", "base_model.conv1.weight")],
)
def test_a_deeper_network_is_not_taken_for_a_shallower_one(tmp_path, converter, their_key):
    """As backbone, and where the classifier is replaced."""
    deeper = create_tsn(num_classes=3, backbone="resnet34")
    torch.save({"state_dict": published(deeper, converter, {their_key})}, tmp_path / "deep.pth")
    with pytest.raises(WeightsError, match=r"deeper network than resnet18|does not fit resnet18"):
        create_tsn(num_classes=5, backbone="resnet18", backbone_weights=tmp_path / "deep.pth")
    shallow = {"builder": "create_tsn", "arguments": {"backbone": "resnet18", "num_classes": 3}}
    wrong = replace(find_weights(tmp_path / "deep.pth"), build=shallow)
    with pytest.raises(WeightsError, match="is unknown to the converter"):
        load_model(wrong, num_classes=5)


@pytest.mark.parametrize(
    ("backbone", "converter", "their_key"),
    [
        ("resnet18", "mmaction2", "backbone.conv1.conv.weight"),
        pytest.param("densenet121", "mmaction2", "backbone.conv1.weight", marks=pytest.mark.slow),
        pytest.param("swin_t", "mmaction2", "backbone.patch_embed.proj.weight", marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", "tsn_pytorch", "base_model.features.1.conv.3.weight", marks=pytest.mark.slow),
        pytest.param("bn_inception", "trn_pytorch", "", marks=pytest.mark.slow),
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
