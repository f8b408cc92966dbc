"""Our models, with the originals' weights, give the originals' numbers: logits, and what flows inside.

The numbers were made by running the original code on weights and inputs by formula (`formula.py`).
"""

import hashlib
import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import formula
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pv_sparse import create_eco, create_eco_lite, create_trn, create_tsn, load_model
from pv_sparse.models.resnet3d import C3DResNet18
from pv_sparse.transforms import TemporalDifference
from pv_sparse.zoo.convert import convert, key_map

GOLDEN = Path(__file__).parent / "golden" / "models"
EPIC = {"verb": 125, "noun": 352}


def pooled(maps: tuple[Tensor, ...]) -> Tensor:
    return maps[-1].mean(dim=(2, 3))


@dataclass
class Original:
    """One model of an original.

    Attributes:
        build: our model.
        converter: from its keys to ours.
        taps: its name for something inside -> (our module, what of the module's output that is).
        unused: keys of its file that nothing reads, with their shapes.
        frame_channels: of a frame of ours, where the recorded input stacks several frames.
        is_slow: whether the quick suite can wait for it.
    """

    build: Callable[[], nn.Module]
    converter: str
    taps: dict[str, tuple[str, Callable]] = field(default_factory=dict)
    unused: dict[str, tuple[int, ...]] = field(default_factory=dict)
    frame_channels: int = 3
    is_slow: bool = True


def same(output: Tensor) -> Tensor:
    return output


ECO_TAP = {"tap_inception_3c_double_3x3_1_relu": ("backbone", lambda maps: maps[0])}
NET3D = {
    "res3b_relu": ("{}res4a.norm", F.relu),
    "res4b_relu": ("{}res5a.norm", F.relu),
    "res5b_relu": ("{}relu", same),
}
IN_HEAD = {name: (module.format("head.net."), of) for name, (module, of) in NET3D.items()}
STEM = {"res3a_2": ("head.net.stem", same)}
FLAT_3D = {"global_pool": ("head.net", lambda maps: maps.mean(dim=(2, 3, 4), keepdim=True))}
FLAT = ("backbone", lambda maps: maps[-1].mean(dim=(2, 3), keepdim=True))
PROJECTED = {"new_fc": ("head.project", same)}
MID = ("backbone.inception_3c_double_3x3_1", same)
FEATURES = {"features": ("backbone", pooled)}

ORIGINALS = {
    "tsn_bninception_rgb_k3": Original(
        lambda: create_tsn(num_classes=101, backbone="bn_inception"),
        "tsn_pytorch",
        {"inception_3c_double_3x3_1_relu": MID, "global_pool": FLAT, "new_fc": ("head.fc", lambda x: x.flatten(0, 1))},
        is_slow=False,
    ),
    "tsn_bninception_rgbdiff_k3": Original(
        lambda: create_tsn(num_classes=101, backbone="bn_inception", frames_per_segment=5),
        "tsn_pytorch",
        {"inception_3c_double_3x3_1_relu": MID, "global_pool": FLAT},
    ),
    "tsn_resnet50_rgb_k3": Original(
        lambda: create_tsn(num_classes=400), "tsn_pytorch", {"avgpool": FLAT}, is_slow=False
    ),
    "mm_tsn_r50_k3": Original(
        lambda: create_tsn(num_classes=400, fusion="features", dropout=0.4),
        "mmaction2",
        {"backbone": ("backbone", lambda maps: maps[-1]), "avg_pool": FLAT},
        is_slow=False,
    ),
    "trn_single_bninception_k8": Original(
        lambda: create_trn(num_classes=174, multi_scale=False, backbone="bn_inception"), "trn_pytorch", PROJECTED
    ),
    "trn_multiscale_bninception_k8": Original(
        lambda: create_trn(num_classes=174, backbone="bn_inception"), "trn_pytorch", PROJECTED
    ),
    "trn_multiscale_inceptionv3_k8": Original(
        lambda: create_trn(num_classes=339, backbone="inception_v3_trn"),
        "trn_pytorch",
        PROJECTED | {"top_cls_pool": FLAT},
    ),
    "mm_trn_r50_k8": Original(
        lambda: create_trn(num_classes=174),
        "mmaction2",
        {"avg_pool": FLAT, "fc_cls": ("head.project", same)},
        is_slow=False,
    ),
    "eco_lite_4f": Original(
        lambda: create_eco_lite(num_classes=400, num_segments=4), "eco_pytorch", ECO_TAP | STEM | IN_HEAD | FLAT_3D
    ),
    "eco_lite_16f": Original(
        lambda: create_eco_lite(num_classes=400), "eco_pytorch", ECO_TAP | STEM | IN_HEAD | FLAT_3D
    ),
    "eco_full_16f": Original(
        lambda: create_eco(num_classes=400),
        "eco_pytorch",
        ECO_TAP
        | STEM
        | IN_HEAD
        | {
            "global_pool2D_reshape_consensus": ("head.dropout_2d", lambda x: x.mean(dim=1)[..., None, None, None]),
            "global_pool3D": ("head.dropout", lambda x: x[..., None, None, None]),
        },
    ),
    "c3dres18_16f": Original(
        lambda: C3DResNet18(num_classes=400),
        "eco_pytorch",
        {
            "conv1": ("net.stem", same),
            "res2b_relu": ("net.res3a.norm", F.relu),
            "res3b_relu": ("net.res4a.norm", F.relu),
            "global_pool": ("net", lambda maps: maps.mean(dim=(2, 3, 4), keepdim=True)),
        },
    ),
    "epic_tsn_resnet50_rgb_k8": Original(
        lambda: create_tsn(num_classes=EPIC),
        "epic",
        FEATURES | {f"fc_{task}": (f"head.fc.{task}", lambda x: x.flatten(0, 1)) for task in EPIC},
        is_slow=False,
    ),
    "epic_tsn_bninception_flow_k8": Original(
        lambda: create_tsn(num_classes=EPIC, backbone="bn_inception", in_channels=2, frames_per_segment=5),
        "epic",
        FEATURES
        | {"base_model.inception_3c_relu_double_3x3_1": MID}
        | {f"fc_{task}": (f"head.fc.{task}", lambda x: x.flatten(0, 1)) for task in EPIC},
        frame_channels=2,
    ),
    "epic_trn_bninception_rgb_k8": Original(
        lambda: create_trn(num_classes=EPIC, multi_scale=False, backbone="bn_inception"),
        "epic",
        FEATURES | PROJECTED | {"consensus.pre_classifier": ("head.relations.8", lambda x: x.flatten(0, 1))},
    ),
    "epic_mtrn_resnet50_rgb_k8": Original(
        lambda: create_trn(num_classes=EPIC),
        "epic",
        FEATURES | PROJECTED | {"consensus.fc_fusion_scales.0": ("head.relations.8", lambda x: x.flatten(0, 1))},
        unused={
            f"consensus.classifiers.6.{number}.{name}": shape
            for number, classes in enumerate(EPIC.values())
            for name, shape in {"weight": (classes, 256), "bias": (classes,)}.items()
        },
        is_slow=False,
    ),
}
QUICK = [name for name, original in ORIGINALS.items() if not original.is_slow]
IDS = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ORIGINALS]


@pytest.mark.parametrize("name", IDS)
def test_float32(name):
    check(name, torch.float32, tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ORIGINALS)
def test_float64(name):
    check(name, torch.float64, tolerance=1e-9)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == QUICK[0] else pytest.mark.slow) for name in ORIGINALS]
)
def test_a_file_as_the_original_wrote_it_loads_by_its_path_alone(name, tmp_path, caplog):
    original, recorded = ORIGINALS[name], read(name)
    with torch.device("meta"):
        own = original.build().state_dict()
    path = tmp_path / "model_best.pth.tar"
    torch.save(wrapped(published(original, own), original.converter, name), path)
    model = load_model(path)
    path.unlink()
    assert "read as" in caplog.text
    check_logits(model, as_video(formula.clips(**recorded["input"]), original, name), recorded, name, 1e-4)


def wrapped(state: dict[str, Tensor], converter: str, name: str) -> dict:
    """The dict around the tensors, their prefix, and the BN of files from before PyTorch 0.4."""
    if converter == "mmaction2":
        return {"meta": {"mmaction_version": "0.6.0", "CLASSES": None}, "state_dict": state}
    if converter == "epic":
        kind = name.split("_")[1]
        options = Namespace(flow_length=5, dropout=0.7, weights=None, lr_steps=[20, 40])
        about = {"model_type": kind, "epoch": 80, "segment_count": 8, "modality": "RGB", "args": options}
        return {**about, "arch": name.split("_")[2], "state_dict": state}
    if "bninception" in name or "inceptionv3" in name:
        state = {
            key: tensor[None] if "_bn." in key or "_batchnorm." in key else tensor
            for key, tensor in state.items()
            if not key.endswith("num_batches_tracked")
        }
    about = {"epoch": 45, "arch": "BNInception", "best_prec1": torch.tensor([61.5])}
    return {**about, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}


@pytest.mark.parametrize("name", IDS)
def test_every_key_of_the_original_is_known(name):
    """Names and shapes of the whole file, by their hash; and the number of parameters."""
    original, recorded = ORIGINALS[name], read(name)
    with torch.device("meta"):
        model = original.build()
    own = model.state_dict()
    theirs = {key: their_shape(own[ours]) for ours, key in names(original, own).items()} | original.unused
    lines = sorted(f"{key} {list(shape)}" for key, shape in theirs.items())
    assert len(lines) == recorded["n_keys"]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == recorded["keys_sha256"]
    assert sum(parameter.numel() for parameter in model.parameters()) == recorded["n_params"]


def check(name: str, dtype: torch.dtype, tolerance: float) -> None:
    original, recorded = ORIGINALS[name], read(name)
    with torch.device("meta"):  # without drawing numbers that the original's then replace
        model = original.build().eval()
    own = model.state_dict()
    state = convert({f"module.{key}": t for key, t in published(original, own).items()}, original.converter, own)
    model.load_state_dict(state, assign=True)
    model.to(dtype)
    video = as_video(formula.clips(**recorded["input"]).to(dtype), original, name)
    seen = watch(model, original.taps)
    check_logits(model, video, recorded, name, tolerance)
    for tap, values in seen.items():
        compare(values.double(), recorded["taps"]["float32" if dtype == torch.float32 else "float64"][tap], tolerance)
    assert seen.keys() == recorded["taps"]["float64"].keys()


def check_logits(model: nn.Module, video: Tensor, recorded: dict, name: str, tolerance: float) -> None:
    expected = np.load(GOLDEN / f"{name}.npz")
    precision = "f32" if video.dtype == torch.float32 else "f64"
    with torch.inference_mode():
        for choice, logits in runs(model, video, recorded):
            for task, values in logits.items():
                wanted = torch.from_numpy(expected[f"logits_{precision}{choice}{task}"]).to(video.dtype)
                torch.testing.assert_close(values, wanted, rtol=0, atol=tolerance)


def published(original: Original, own: dict) -> dict[str, Tensor]:
    """Every tensor of the original's file, by formula."""
    state = {key: formula.weight(key, their_shape(own[ours])) for ours, key in names(original, own).items()}
    return state | {key: formula.weight(key, torch.Size(shape)) for key, shape in original.unused.items()}


def runs(model: nn.Module, video: Tensor, recorded: dict):
    """(name of the choice of tuples, logits by task) of each recorded run."""
    if "tuples" not in recorded:
        yield "", by_task(model(video))
        return
    maps = model.maps(video)
    for choice, tuples in recorded["tuples"].items():
        yield f"_{choice}", by_task(model.head(*maps, tuples={int(scale): t for scale, t in tuples.items()}))


def by_task(logits) -> dict[str, Tensor]:
    return {f".{task}": values for task, values in logits.items()} if isinstance(logits, dict) else {"": logits}


def watch(model: nn.Module, taps: dict) -> dict[str, Tensor]:
    """What the tapped modules give, in the first run."""
    seen: dict[str, Tensor] = {}

    def hook(tap, of):
        def record(module, inputs, output):
            seen.setdefault(tap, of(output).clone())

        return record

    for tap, (module, of) in taps.items():
        model.get_submodule(module).register_forward_hook(hook(tap, of))
    return seen


def compare(values: Tensor, recorded: dict, tolerance: float) -> None:
    # The originals' float32 statistics were summed in float32: their own error grows with the size.
    loose = tolerance * 10
    assert list(values.shape) == recorded["shape"]
    assert values.mean().item() == pytest.approx(recorded["mean"], abs=loose)
    assert values.std(correction=0).item() == pytest.approx(recorded["std"], abs=loose)
    assert values.abs().max().item() == pytest.approx(recorded["absmax"], abs=loose)
    assert values.flatten()[:8].tolist() == pytest.approx(recorded["first8"], abs=tolerance)


def as_video(clip: Tensor, original: Original, name: str) -> Tensor:
    """(B, T, C, H, W) as recorded -> the (N, C, T, H, W) of our models."""
    n, t, c, h, w = clip.shape
    frames = clip.reshape(n, t * c // original.frame_channels, original.frame_channels, h, w).transpose(1, 2)
    if "rgbdiff" in name:
        return torch.stack([TemporalDifference(frames_per_segment=6)(video) for video in frames])
    return frames


def their_shape(ours: Tensor) -> torch.Size:
    """Relations are (s, features, hidden) here, (hidden, s * features) there."""
    return ours.flatten(0, 1).t().shape if ours.ndim == 3 else ours.shape


def names(original: Original, own: dict) -> dict[str, str]:
    theirs = (
        {"base_model.fc_final.weight"}
        if "head.net.stem.weight" in own and own["head.fc.weight"].shape[1] == 1536
        else ()
    )
    return key_map(original.converter, own, theirs)


def read(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}.json").read_text())
