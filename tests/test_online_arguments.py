"""What OnlineRecognizer refuses, in one line each, and before anything is downloaded."""

import copy
import dataclasses

import pytest
import torch
from test_online import SMALL, model, recognizer, stream
from torch import nn

from pv_sparse import (
    C3DResNet18,
    EvaluationTransform,
    LateFusion,
    WeightsError,
    create_eco_ensemble,
    create_tsn,
    get_weights,
)
from pv_sparse.online import Held, OnlineRecognizer, ScriptMemory, WindowMemory

TSN = "tsn_efficientnet_lite0.in1k"


def refused(message: str, kind: type[Exception] = ValueError):
    return pytest.raises(kind, match=r"\A" + message + r"[^\n]*\Z")


def test_modules_without_2d_network_and_head():
    with torch.device("meta"):
        others = [C3DResNet18(3), create_eco_ensemble(num_classes=3, num_segments=(4,), backbone="tiny", width=0.125)]
    for other in (*others, LateFusion({"rgb": model()}), nn.Linear(2, 2)):
        with refused(
            f"a {type(other).__name__} has no backbone and head that could run apart: give a model of create_"
        ):
            OnlineRecognizer(other)


def test_other_modalities():
    with refused("the model reads 2 channels of 1 frames a segment"):
        OnlineRecognizer(model(in_channels=2))
    with refused("the model reads 15 channels of 5 frames a segment"):
        OnlineRecognizer(model(frames_per_segment=5))
    with refused(r"tsn_r50_flow\.epic_ek55 reads optical flow, a stream has RGB frames", WeightsError):
        OnlineRecognizer("tsn_r50_flow.epic_ek55")
    difference = dataclasses.replace(
        get_weights(TSN), build={"builder": "create_tsn", "arguments": {"num_classes": 3, "frames_per_segment": 5}}
    )
    with refused(".* reads differences of frames, a stream has RGB frames", WeightsError):
        OnlineRecognizer(model(), weights=difference)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (create_tsn, "create_tsn"),
        (None, "a NoneType"),
        ({"fc.weight": torch.zeros(1)}, "a dict"),
        (nn.Linear, "Linear"),
        (8, "a int"),
    ],
)
def test_what_is_no_model(given, told):
    with refused(rf"{told} was given as model: give a name of list_weights\(\), a file, a Weights record or a module"):
        OnlineRecognizer(given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": TSN}, r"weights='tsn_.*' is not allowed: give a record, such as get_weights\('tsn_"),
        ({"memory": 8}, r"memory=8 is not allowed: choose one of window, paper, script, or give a Memory, such as Win"),
        ({"memory": WindowMemory}, "memory=WindowMemory is not allowed: choose one of window, paper, script, or give"),
        ({"memory": ScriptMemory}, "memory=ScriptMemory is not allowed"),
        ({"memory": "Window"}, "memory='Window' is unknown: choose one of window, paper, script"),
        ({"num_frames": 8.0}, r"num_frames=8\.0 is not allowed: it must be a whole number of at least 1"),
        ({"num_frames": 2.5}, r"num_frames=2\.5 is not allowed: it must be a whole number"),
        ({"num_frames": "8"}, "num_frames='8' is not allowed: it must be a whole number"),
        ({"num_frames": True}, "num_frames=True is not allowed: it must be a whole number"),
        ({"num_frames": 8.0, "memory": WindowMemory(8)}, r"num_frames=8\.0 is not allowed"),
        ({"num_frames": 4, "memory": WindowMemory(8)}, "num_frames=4 was given with a memory of 8: leave one out"),
        ({"average": 0}, r"average=0 is not allowed: it must be a number above 0 and at most 1 \(no averaging\)"),
        ({"average": 1.5}, r"average=1\.5 is not allowed"),
        ({"average": -1}, "average=-1 is not allowed"),
        ({"average": float("nan")}, "average=nan is not allowed"),
        ({"average": "0.5"}, r"average='0\.5' is not allowed: it must be a number above 0"),
        ({"transform": "small"}, r"transform='small' is not allowed: give a module from a clip \(3, 1, H, W\)"),
        ({"transform": EvaluationTransform}, "transform=<class .*> is not allowed: give a module"),
        ({"device": "gpu"}, r"device='gpu' cannot be used .*: try cpu, or cuda where there is a GPU"),
        ({"device": "meta"}, r"device='meta' cannot be used .*: try cpu, or cuda where there is a GPU"),
    ],
)
def test_arguments(arguments, message):
    with refused(message):
        OnlineRecognizer(model(), **arguments)


def test_what_a_model_does_not_take():
    with refused(r"the model is in training mode, where it answers at random: call model\.eval\(\) first"):
        OnlineRecognizer(copy.deepcopy(model()).train())
    with refused("num_frames=6 is not allowed: the model takes 8 frames, no others"):
        recognizer("trn", num_frames=6)
    with refused("num_frames=6 is not allowed: ECO takes a multiple of 4"):
        recognizer("eco", num_frames=6)
    with refused("num_frames=8 is not allowed: .* a multiple of 16: give num_frames=16, or memory='paper'"):
        recognizer("eco", memory="script")
    with refused("device='meta' cannot be used"):
        OnlineRecognizer(copy.deepcopy(model()).to("meta"))


def test_what_a_name_cannot_be_given():
    with refused("weights= goes with a module: a name or a file brings its own"):
        OnlineRecognizer(TSN, weights=get_weights(TSN))
    with refused(r"weights 'eco_lite\.unifr' are unknown", WeightsError):
        OnlineRecognizer("eco_lite.unifr")


@pytest.mark.parametrize(
    ("builder", "arguments", "message"),
    [
        ("create_trn", {"num_frames": 6}, "num_frames=6 is not allowed: the model takes 8 frames, no others"),
        ("create_tsn", {"memory": "long"}, "memory='long' is unknown"),
        ("create_tsn", {"average": 2}, "average=2 is not allowed"),
        ("create_tsn", {"transform": 3}, "transform=3 is not allowed"),
        ("create_eco_lite", {"memory": "script", "num_frames": 12}, "num_frames=12 is not allowed"),
        pytest.param(
            "C3DResNet18", {}, "a C3DResNet18 has no backbone and head that could run apart", marks=pytest.mark.slow
        ),
    ],
)
def test_nothing_is_downloaded_for_what_can_never_work(builder, arguments, message, monkeypatch):
    small = {} if builder == "C3DResNet18" else {"backbone": "tiny"}
    record = dataclasses.replace(
        get_weights(TSN),
        build={"builder": builder, "arguments": {"num_classes": 3, **small}},
        file={"urls": ["https://localhost:1/not_here.pth"]},
    )
    monkeypatch.setattr("pv_sparse.zoo.files.require", lambda *_: pytest.fail("it would be downloaded"))
    with refused(message):
        OnlineRecognizer(record, **arguments)


class Forgetful:
    """A rule of a user's that reads a frame before the one it holds."""

    num_frames, average = 2, 1.0

    def add(self, held: Held, frame: int) -> tuple[Held, bool]:
        return (Held(((frame,),)), False) if frame < 2 else (Held(((frame - 2, frame),)), True)


def test_a_memory_that_reads_what_it_did_not_hold():
    online = OnlineRecognizer(model(), memory=Forgetful(), transform=SMALL)
    for frame in stream(2):
        online.update(frame)
    state = online.state
    with refused("the Forgetful holds frame 0 after frame 2, but not before it: hold a frame from when it comes"):
        online.update(stream(1)[0])
    assert online.state is state
