"""Exported files answer as the module does, in programs that have no pv_sparse; and they are whole or not there."""

import dataclasses
import json
import signal
import subprocess
import sys

import pytest
import test_every_model as every
import torch
from torch import nn

import pv_sparse as pvs
from pv_sparse.errors import PvSparseError
from pv_sparse.inference import export_onnx, export_writing
from pv_sparse.inference.export import export_model
from pv_sparse.inference.export_torch import DESCRIPTION, TorchScript
from pv_sparse.zoo.weights import Weights

QUICK = {("tsn_two_tasks", ".pt"), ("trn", ".pt")}
SUFFIXES = (".pt2", ".onnx", ".pt")
IN_ALL_FORMATS = {"tsn", "trn", "eco"}


def cases():
    """The families in every format, other models in one: each format sees many."""
    for number, (name, case) in enumerate(every.CASES.items()):
        own = {SUFFIXES[number % 3], *(suffix for known, suffix in QUICK if known == name)}
        for suffix in SUFFIXES if name in IN_ALL_FORMATS else sorted(own):
            marks = [] if (name, suffix) in QUICK else [pytest.mark.slow]
            yield pytest.param(case, suffix, id=f"{name}{suffix}", marks=marks)


def network(path):
    """How a program without pv_sparse runs it: from a video to a list of outputs."""
    if path.suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the export extra")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda video: [torch.from_numpy(values) for values in session.run(None, {"video": video.numpy()})]
    module = torch.export.load(path).module() if path.suffix == ".pt2" else load_script(path)

    def run(video):
        outputs = module(video)
        return list(outputs.values()) if isinstance(outputs, dict) else [outputs]

    return run


def load_script(path, **arguments):
    with pytest.warns(Warning, match=r"torch\.jit\.load. is (deprecated|not supported)"):
        return torch.jit.load(path, **arguments)


def a_tsn() -> nn.Module:
    return pvs.create_tsn(num_classes=5, backbone="tiny").eval()


def an_example(num_videos: int = 1) -> torch.Tensor:
    return torch.randn(num_videos, 3, 4, 32, 32)


def a_record(**changed) -> Weights:
    record = Weights(
        name="tsn_tiny.test",
        build={"builder": "create_tsn", "arguments": {"num_classes": 5, "backbone": "tiny"}},
        file={},
        sampling={"rule": "tsn_test", "num_segments": 25},
        one_view={"rule": "center", "num_segments": 4},
        input={"resize": 36, "crop": 32, "num_crops": 10},
        categories=tuple("abcde"),
        origin={"url": "https://example.org", "converter": "bare", "license": "MIT"},
    )
    return dataclasses.replace(record, **changed)


@pytest.mark.parametrize(("case", "suffix"), [*cases()])
@torch.no_grad()
def test_a_file_answers_as_the_module_does_for_any_batch(case, suffix, tmp_path):
    model, videos = every.evaluated(case), every.video(case)
    videos = torch.cat([videos, 0.7 * videos[:1]])
    report = export_model(model, tmp_path / f"out{suffix}", videos[:2])
    run = network(report.files[0])
    for size in (1, 2, 3):
        expected = every.flat(model(videos[:size]))
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(torch.cat(run(videos[:size]), dim=1), expected, rtol=0, atol=1e-4 * scale)
    outputs = json.loads(report.files[-1].read_text())["outputs"]
    assert [entry["name"] for entry in outputs] in (["logits"], ["verb", "noun"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("builder", "num_segments", "suffix"),
    [("create_trn", 8, ".pt2"), ("create_eco", 16, ".onnx"), ("create_eco_lite", 16, ".pt")],
)
@torch.no_grad()
def test_the_papers_models(builder, num_segments, suffix, tmp_path):
    model = getattr(pvs, builder)(num_classes=5, num_segments=num_segments, backbone="bn_inception").eval()
    videos = torch.randn(3, 3, num_segments, 64, 64)
    run = network(export_model(model, tmp_path / f"out{suffix}", videos[:1]).files[0])
    for size in (1, 2, 3):
        torch.testing.assert_close(run(videos[:size])[0], model(videos[:size]), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tsn_r50.mm_k400_1x1x3", "trn_bninception.csail_sthv2", "eco_16f.unifr_k400"])
def test_real_shapes(name, tmp_path):
    """By the record of the zoo, with random weights, and statistics that keep logits as small as real ones."""
    from pv_sparse.export_command import example_video
    from pv_sparse.zoo.loading import build_model

    record = pvs.get_weights(name)
    model, example = build_model(record), example_video(record)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(example)
    report = export_model(model.eval(), tmp_path / "out.onnx", example, record)
    described = json.loads(report.files[-1].read_text())
    assert report.largest_difference < 1e-4
    assert described["check"]["largest_logit"] < 100
    assert described["input"]["shape"][3:] == [224, 224]


@pytest.mark.slow
@torch.no_grad()
def test_a_model_that_is_channels_last(tmp_path):
    model, videos = a_tsn().to(memory_format=torch.channels_last), an_example(3)
    run = network(export_model(model, tmp_path / "out.pt2", videos[:1]).files[0])
    torch.testing.assert_close(run(videos)[0], model(videos), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".pt"])
@torch.no_grad()
def test_an_optimised_model(suffix, tmp_path):
    model = pvs.create_eco(num_classes=5, num_segments=4, backbone="tiny", width=0.25).eval()
    videos = torch.randn(3, 3, 4, 64, 64)
    run = network(export_model(pvs.inference.optimize(model), tmp_path / f"out{suffix}", videos[:2]).files[0])
    for size in (1, 3):
        torch.testing.assert_close(run(videos[:size])[0], model(videos[:size]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "suffix", [".pt", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".pt2", ".onnx"))]
)
def test_what_is_beside_the_model_is_in_it(suffix, tmp_path):
    path = tmp_path / f"out{suffix}"
    report = export_model(a_tsn(), path, an_example(), a_record())
    assert report.files == (path, tmp_path / "out.json")
    assert sorted(tmp_path.iterdir()) == sorted(report.files)
    beside = json.loads(report.files[1].read_text())
    assert json.loads(embedded(path)) == beside
    assert beside["format"] == report.format
    assert beside["check"]["largest_difference"] == report.largest_difference
    assert beside["check"]["batch_sizes"] == [1, 3]
    assert beside["input"] == {
        "name": "video",
        "axes": "N C T H W",
        "dtype": "float32",
        "shape": ["batch", 3, 4, 32, 32],
    }
    assert beside["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", 5]}]
    assert beside["categories"] == list("abcde")
    assert (beside["license"], beside["origin"]) == ("MIT", {"url": "https://example.org"})
    assert beside["versions"]["torch"] == torch.__version__
    assert ("opset" in beside["versions"]) == (suffix == ".onnx")


def embedded(path) -> str:
    extra = {DESCRIPTION: ""}
    if path.suffix == ".pt2":
        torch.export.load(path, extra_files=extra)
    elif path.suffix == ".pt":
        load_script(path, _extra_files=extra)
    else:
        import onnxruntime

        extra = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    return extra[DESCRIPTION] if isinstance(extra[DESCRIPTION], str) else extra[DESCRIPTION].decode()


@pytest.mark.slow
def test_an_onnx_of_more_than_two_gigabytes_has_its_weights_beside(tmp_path, monkeypatch):
    monkeypatch.setattr(export_onnx, "LARGEST_SINGLE_FILE", 1000)
    model, videos = a_tsn(), an_example(3)
    report = export_model(model, tmp_path / "out.onnx", videos[:1])
    assert [path.name for path in report.files] == ["out.onnx.data", "out.onnx", "out.json"]
    assert report.files[0].stat().st_size > report.files[1].stat().st_size
    with torch.no_grad():
        torch.testing.assert_close(network(report.files[1])(videos)[0], model(videos), rtol=0, atol=1e-4)


class Constant(nn.Module):
    """Traced, its batch is a constant."""

    def forward(self, video):
        return video.mean(dim=(2, 3, 4)).reshape(int(video.shape[0]), -1)


class Undecided(nn.Module):
    """What it does depends on values, which no graph can hold."""

    def forward(self, video):
        return video.mean(dim=(2, 3, 4)) if video.sum() > 0 else video.amax(dim=(2, 3, 4))


@pytest.mark.parametrize(
    ("model", "suffix", "words"),
    [
        (Constant(), ".pt", r"out\.pt: the exported model cannot be run: "),
        (Undecided(), ".pt2", r"a Undecided cannot be exported as torch\.export: "),
    ],
)
def test_a_model_that_cannot_be_exported_is_one_line(model, suffix, words, tmp_path):
    with pytest.raises(PvSparseError, match=words) as found:
        export_model(model.eval(), tmp_path / f"out{suffix}", an_example())
    assert "\n" not in str(found.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    for name in ("out.pt", "out.json"):
        (tmp_path / name).write_text("of before")
    load = TorchScript.load
    shifted = lambda self, path: lambda video: {n: v + 2e-4 for n, v in load(self, path)(video).items()}  # noqa: E731
    monkeypatch.setattr(TorchScript, "load", shifted)
    with pytest.raises(PvSparseError, match=r"differ by 0\.0002 from the module's, and 0\.0001 is allowed"):
        export_model(a_tsn(), tmp_path / "out.pt", an_example())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("out.pt", "out.json"), "of before"
    )
    report = export_model(a_tsn(), tmp_path / "out.pt", an_example(), tolerance=3e-4)
    assert report.largest_difference == pytest.approx(2e-4, rel=0.01)


def test_broken_off_it_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_writing, "_move", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_model(a_tsn(), tmp_path / "out.pt", an_example())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("moved", [0, 1, 2])
def test_killed_it_leaves_nothing_that_looks_whole(moved, tmp_path):
    """Killed before each of the two files is moved to its place, which had others before; and at the end."""
    for name in ("out.pt", "out.json"):
        (tmp_path / name).write_text("of before")
    code = f"""
import os, signal, torch, pv_sparse as pvs
from pv_sparse.inference import export_writing
from pv_sparse.inference.export import export_model
moves, replace = [], os.replace
def move(*paths):
    if len(moves) == {moved}:
        os.kill(os.getpid(), signal.SIGKILL)
    moves.append(replace(*paths))
export_writing.os.replace = move
model = pvs.create_tsn(num_classes=5, backbone="tiny").eval()
export_model(model, "out.pt", torch.randn(1, 3, 4, 64, 64))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, check=False)
    left = {path.name: path for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert done.returncode == (0 if moved == 2 else -signal.SIGKILL)
    # Before the first move the description of before is gone, and its model too once there is a new one.
    assert set(left) == ({"out.pt"} if moved < 2 else {"out.pt", "out.json"})
    if moved:
        assert json.loads(embedded(left["out.pt"]))["file"] == "out.pt"
    else:
        assert left["out.pt"].read_text() == "of before"
    report = export_model(a_tsn(), tmp_path / "out.pt", an_example())
    assert all(path.is_file() for path in report.files)


@pytest.mark.parametrize("suffix", [".pt2", ".pt", pytest.param(".onnx", marks=pytest.mark.slow)])
def test_a_full_disk_is_an_error_and_leaves_nothing(suffix, small_disk):
    filled = small_disk / "other"
    filled.write_bytes(bytes(1_200_000))
    with pytest.raises(OSError, match="No space left on device"):
        export_model(a_tsn(), small_disk / f"out{suffix}", an_example())
    assert list(small_disk.iterdir()) == [filled]


def two_inputs() -> nn.Module:
    return pvs.LateFusion({"rgb": a_tsn(), "flow": a_tsn()}).eval()


def without_numbers() -> nn.Module:
    model = a_tsn()
    nn.init.constant_(model.head.fc.bias, float("nan"))
    return model


@pytest.mark.parametrize(
    ("model", "path", "example", "error", "words"),
    [
        (
            a_tsn,
            "out.pth",
            an_example,
            ValueError,
            r"must end in one of \.pt2 \(torch\.export\), \.onnx \(ONNX\), \.pt",
        ),
        (a_tsn, "no/out.pt2", an_example, FileNotFoundError, "there is no folder"),
        (a_tsn, "folder.pt2", an_example, IsADirectoryError, r"folder\.pt2: it is a folder"),
        (lambda: a_tsn().train(), "out.pt2", an_example, ValueError, "in training mode"),
        (two_inputs, "out.pt2", an_example, ValueError, "a LateFusion takes several videos"),
        (a_tsn, "out.pt2", lambda: an_example()[0], ValueError, r"of shape \(3, 4, 32, 32\) and torch\.float32"),
        (a_tsn, "out.pt2", lambda: an_example().byte(), ValueError, r"and torch\.uint8 was given"),
        (a_tsn, "out.pt2", lambda: an_example()[:, :2], ValueError, "a video of 2 channels was given"),
        (a_tsn, "out.pt2", lambda: an_example()[..., :0], PvSparseError, "cannot read a video of shape"),
        (without_numbers, "out.pt2", an_example, PvSparseError, "are no finite numbers"),
        (
            lambda: pvs.create_tsn(num_classes={"video": 2}, backbone="tiny").eval(),
            "out.pt2",
            an_example,
            ValueError,
            "a task is called 'video'",
        ),
    ],
)
def test_errors_are_one_line(model, path, example, error, words, tmp_path):
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(error, match=words) as found:
        export_model(model(), tmp_path / path, example())
    assert "\n" not in str(found.value)
    assert [own.name for own in tmp_path.iterdir()] == ["folder.pt2"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"one_view": {"num_segments": 3}}, r"the record of tsn_tiny\.test makes \(3, 3, 32, 32\)"),
        ({"input": {"resize": 36, "crop": 28}}, r"makes \(3, 4, 28, 28\)"),
        ({"categories": ("a", "b")}, r"gives \{'logits': 5\}, and the record .* \{'logits': 2\}"),
    ],
)
def test_a_record_of_another_model_is_refused(changed, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        export_model(a_tsn(), tmp_path / "out.pt2", an_example(), a_record(**changed))


def test_the_model_stays_as_it_is(tmp_path):
    model, example = a_tsn(), an_example()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    export_model(model, tmp_path / "out.pt", example)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".pt"])
def test_a_model_on_a_gpu(suffix, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = pvs.create_eco(num_classes=5, num_segments=4, backbone="tiny", width=0.25).eval()
    videos = torch.randn(3, 3, 4, 64, 64)
    with torch.no_grad():
        expected = model(videos)
        model.cuda()
        path = export_model(model, tmp_path / f"out{suffix}", videos[:1].cuda()).files[0]
        assert next(model.parameters()).is_cuda
        torch.testing.assert_close(network(path)(videos)[0], expected, rtol=0, atol=1e-4)
        if suffix == ".pt":
            script = load_script(path, map_location="cuda")
            torch.testing.assert_close(script(videos.cuda()).cpu(), expected, rtol=0, atol=2e-3)
