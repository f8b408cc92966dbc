"""OnlineRecognizer against a slow plain one, which keeps all frames and runs the whole model on the chosen ones."""

import copy
import dataclasses
import functools
import pickle

import numpy as np
import pytest
import torch
from conftest import CLASSES
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pv_sparse import (
    EvaluationTransform,
    create_conv_lstm,
    create_eco,
    create_eco_lite,
    create_recurrent,
    create_trn,
    create_tsn,
    get_weights,
    load_model,
    save_model,
)
from pv_sparse.inference import optimize
from pv_sparse.online import Held, OnlineRecognizer, OnlineState, PaperMemory, WindowMemory, step
from pv_sparse.online.memories import create_memory
from pv_sparse.zoo.loading import find_weights

SMALL = EvaluationTransform(36, 32)
BUILDERS = {
    "tsn": create_tsn,
    "trn": create_trn,
    "eco_lite": create_eco_lite,
    "eco": create_eco,
    "lstm": create_recurrent,
    "conv_lstm": create_conv_lstm,
}


@functools.cache
def model(family: str = "tsn", num_segments: int = 8, **arguments) -> nn.Module:
    """Shared: a test that changes it takes a copy."""
    torch.manual_seed(0)
    given = {"num_classes": 5, "backbone": "tiny"} | arguments
    given |= {"width": 0.125} if "eco" in family else {}
    given |= {"num_segments": num_segments} if family in ("trn", "eco", "eco_lite") else {}
    made = BUILDERS[family](**given).eval()
    for linear in made.modules():
        if isinstance(linear, nn.Linear):
            nn.init.normal_(linear.weight, std=0.3)  # so that classes differ
    return made


def recognizer(family: str = "tsn", num_segments: int = 8, **arguments) -> OnlineRecognizer:
    net = model(family, num_segments)
    return OnlineRecognizer(copy.deepcopy(net) if "device" in arguments else net, **{"transform": SMALL, **arguments})


def stream(number: int, size: tuple[int, int] = (40, 44)) -> torch.Tensor:
    """(number, 3, H, W)"""
    return torch.randint(0, 256, (number, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


class Slow:
    """The plain reference: averages by hand, and calls the model on a clip of the frames themselves."""

    def __init__(self, net, memory, average):
        self.net, self.memory, self.average = net, memory, average
        self.frames, self.held, self.scores = [], Held(), None

    @torch.inference_mode()
    def update(self, frame):
        self.frames.append(frame)
        self.held, is_due = self.memory.add(self.held, len(self.frames) - 1)
        if not is_due:
            return None
        clip = torch.stack([self.frames[number] for number in self.held.read], dim=1)
        logits = self.net(SMALL(clip)[None])[0]
        newest = logits.softmax(0)
        self.scores = newest if self.scores is None else self.average * newest + (1 - self.average) * self.scores
        return logits, self.scores, list(self.held.read)


def assert_same(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Within a part of the largest value."""
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def compare(family, memory, n, num_frames):
    fast = recognizer(family, n, memory=memory, num_frames=n)
    slow = Slow(model(family, n), create_memory(memory, n), 1.0 if memory == "window" else 0.5)
    for number, frame in enumerate(stream(num_frames)):
        found, expected = fast.update(frame), slow.update(frame)
        assert (found is None) == (expected is None)
        if found is not None:
            logits, scores, frames = expected
            assert_same(found.logits, logits)
            assert_same(found.scores, scores)
            assert found.frame_indices == frames
            assert found.frame_index == number


@pytest.mark.parametrize("memory", ["window", "paper"])
@pytest.mark.parametrize("family", BUILDERS)
def test_each_model_gives_what_it_gives_on_the_frames_themselves(family, memory):
    n = 8 if family.startswith("eco") else 4
    compare(family, memory, n, n + 3 if memory == "window" else 3 * n)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.sampled_from(["tsn", "trn", "lstm", "conv_lstm"]), st.integers(2, 9), st.integers(0, 24), st.booleans())
def test_any_number_of_frames(family, n, num_frames, is_window):
    compare(family, "window" if is_window else "paper", n, num_frames)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.sampled_from(["eco_lite", "eco"]), st.sampled_from([4, 8, 12, 16]), st.integers(0, 40), st.booleans())
def test_any_number_of_frames_of_eco(family, n, num_frames, is_window):
    compare(family, "window" if is_window else "paper", n, num_frames)


@pytest.mark.slow
def test_the_scripts_memory_of_eco():
    compare("eco_lite", "script", 16, 16 * 6)


def test_what_is_chosen_where_nothing_is_asked_for():
    assert recognizer("tsn").network.memory == WindowMemory(8)
    assert recognizer("trn", 5).network.memory == WindowMemory(5)
    assert recognizer("eco", 12).network.memory == PaperMemory(12)
    assert recognizer("tsn", num_frames=3).network.memory == WindowMemory(3)
    assert recognizer("tsn", memory=PaperMemory(6)).network.memory == PaperMemory(6)
    assert recognizer("tsn").network.average == 1.0
    assert recognizer("eco").network.average == 0.5


def test_scores_are_averaged():
    """Of the newest and of all before, which the released script fails to do."""
    online = recognizer("tsn", num_frames=2, average=0.3)
    found = [online.update(frame) for frame in stream(6)][1:]
    expected = found[0].logits.softmax(0)
    for prediction in found[1:]:
        expected = 0.3 * prediction.logits.softmax(0) + 0.7 * expected
        torch.testing.assert_close(prediction.scores, expected)
        assert (prediction.scores - prediction.logits.softmax(0)).abs().max() > 1e-3
        assert float(prediction.scores.sum()) == pytest.approx(1)


@pytest.mark.parametrize("average", [1.0, 0.3])
def test_scores_that_are_no_numbers_are_forgotten(average):
    transform = copy.deepcopy(SMALL)
    transform.register_forward_hook(lambda module, clips, out: out * float("nan") if not clips[0].any() else None)
    online = recognizer(num_frames=1, average=average, transform=transform)
    first, black, after, last = [online.update(frame) for frame in (*stream(1), stream(1)[0] * 0, *stream(2))]
    assert first.scores.isfinite().all()
    assert black.scores.isnan().all()
    assert torch.equal(after.scores, after.logits.softmax(0))
    torch.testing.assert_close(last.scores, average * last.logits.softmax(0) + (1 - average) * after.scores)


def test_the_tensors_of_a_prediction_are_its_own():
    ours, other = recognizer(num_frames=1, average=0.5), recognizer(num_frames=1, average=0.5)
    for frame in stream(3):
        found, expected = ours.update(frame), other.update(frame)
        assert torch.equal(found.scores, expected.scores)
        assert not found.scores.is_inference()
        assert not found.logits.is_inference()
        found.scores.mul_(2)
        found.logits.zero_()
    layer = nn.Linear(5, 1)
    layer(expected.logits).sum().backward()  # learns from it
    assert torch.equal(layer.weight.grad[0], expected.logits)
    with torch.inference_mode():
        assert not ours.update(stream(1)[0]).scores.is_inference()


def test_each_kept_frame_goes_through_the_2d_network_once():
    cases = (("tsn", "window", 10), ("tsn", WindowMemory(1), 10), ("eco_lite", "paper", 8 + 4), ("eco", "window", 10))
    for family, memory, expected in cases:
        net = copy.deepcopy(model(family))
        passes, transformed = [], []
        net.backbone.register_forward_hook(lambda module, images, maps, passes=passes: passes.append(len(images[0])))
        transform = copy.deepcopy(SMALL)
        transform.register_forward_hook(lambda module, clips, out, seen=transformed: seen.append(clips[0].shape[1]))
        online = OnlineRecognizer(net, memory=memory, transform=transform)
        for frame in stream(16 if memory == "paper" else 10):
            online.update(frame)
        assert passes == transformed == [1] * expected


@pytest.mark.parametrize(
    ("family", "memory"),
    [("tsn", "window"), ("eco", "paper"), pytest.param("eco", "window", marks=pytest.mark.slow)],
)
def test_what_is_kept_does_not_grow(family, memory):
    online, sizes = recognizer(family, memory=memory), []
    for frame in stream(8).repeat(5, 1, 1, 1):
        online.update(frame)
        if online.state.num_frames % 8 == 0:
            tensors = {t.data_ptr(): t for t in held_tensors(online.state)}
            sizes.append((len(tensors), sum(t.untyped_storage().nbytes() for t in tensors.values())))
    assert len(set(sizes[2:])) == 1


def held_tensors(value):
    """All tensors in a state."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, OnlineState):
        for field in dataclasses.fields(value):
            yield from held_tensors(getattr(value, field.name))
    elif isinstance(value, dict | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from held_tensors(part)


@pytest.mark.parametrize(("family", "memory"), [("tsn", "window"), ("eco", "paper"), ("eco", "window")])
def test_a_step_changes_nothing_that_was_there(family, memory):
    online = recognizer(family, memory=memory)
    frames = stream(16)
    for frame in frames[:15]:
        online.update(frame)
    state, picture = online.state, frames[15].clone()
    before = copy.deepcopy(state)
    (one, first), (two, second) = step(online.network, state, picture), step(online.network, state, picture)
    assert torch.equal(picture, frames[15])
    assert first is not second
    assert torch.equal(first.scores, second.scores)
    assert first.frame_indices == second.frame_indices
    assert one.held == two.held
    assert (state.num_frames, state.held) == (before.num_frames, before.held)
    for now, then in zip(held_tensors(state), held_tensors(before), strict=True):
        assert torch.equal(now, then)


def test_a_state_can_be_kept_and_set_again():
    online = recognizer("eco", memory="window")
    frames = stream(14)
    for frame in frames[:10]:
        online.update(frame)
    kept = pickle.loads(pickle.dumps(copy.copy(online.state)))
    first = [online.update(frame).scores for frame in frames[10:]]
    online.state = kept
    again = [online.update(frame).scores for frame in frames[10:]]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(("family", "memory"), [("tsn", "window"), ("eco", "window")])
def test_a_recogniser_can_be_pickled_within_a_stream(family, memory):
    online = recognizer(family, memory=memory)
    for frame in stream(9):
        online.update(frame)
    copied = pickle.loads(pickle.dumps(online))
    for frame in stream(2):
        assert torch.equal(copied.update(frame).scores, online.update(frame).scores)


def test_reset_starts_another_stream():
    online = recognizer("eco")
    first = [online.update(frame) for frame in stream(16)]
    online.reset()
    again = [online.update(frame) for frame in stream(16)]
    assert [p.frame_index for p in again if p] == [7, 15]
    assert all(torch.equal(a.scores, b.scores) for a, b in zip(first, again, strict=True) if a)


def test_arrays_and_tensors_are_the_same_frames():
    frames = stream(6)
    arrays = frames.permute(0, 2, 3, 1).numpy().copy()
    turned = arrays[..., ::-1].copy()[..., ::-1]  # as of OpenCV's BGR
    fixed = arrays.copy()
    fixed.flags.writeable = False
    kinds = []
    for kind in (frames, arrays, turned, fixed, frames.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)):
        online = recognizer(num_frames=2)
        kinds.append([online.update(frame) for frame in kind][-1].scores)
    assert all(torch.equal(kinds[0], other) for other in kinds[1:])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (torch.zeros(4, 8, 8, dtype=torch.uint8), r"a frame of shape \(4, 8, 8\) and torch.uint8 was given: give RGB"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"shape \(8, 8, 3\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"shape \(1, 3, 8, 8\)"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), r"shape \(3, 0, 8\)"),
        (torch.zeros(3, 8, 8), r"torch.float32 was given"),
        (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\) and uint8"),
        (np.zeros((8, 8, 3)), r"and float64 was given"),
        (np.zeros((8, 8), np.uint8), r"shape \(8, 8\)"),
        ([[0, 0, 0]], "a list was given as a frame: give a tensor or a NumPy array"),
        (None, "a NoneType was given as a frame"),
    ],
)
def test_other_frames_are_refused_and_forgotten(frame, message):
    online = recognizer("tsn", num_frames=2)
    online.update(stream(1)[0])
    state = online.state
    with pytest.raises(ValueError, match=message) as caught:
        online.update(frame)
    assert "\n" not in str(caught.value)
    assert online.state is state
    assert online.update(stream(1)[0]).frame_indices == [0, 1]


def test_frames_may_change_size():
    online = recognizer("eco", memory="window")
    sizes = [(40, 44), (90, 50), (33, 33), (20, 120)]
    frames = [stream(1, sizes[number % 4])[0] for number in range(9)]
    found = [online.update(frame) for frame in frames][-1]
    with torch.inference_mode():
        clip = torch.cat([SMALL(frame[:, None]) for frame in frames[1:]], dim=1)
        assert_same(found.logits, model("eco")(clip[None])[0])


def test_sizes_may_change_where_no_frame_before_is_kept():
    online = recognizer("tsn", num_frames=1, transform=EvaluationTransform(32, None))
    for size in ((32, 64), (32, 128)):
        assert online.update(stream(1, size)[0]) is not None


def test_a_transform_that_makes_several_sizes_is_told():
    online = recognizer("tsn", transform=EvaluationTransform(32, None))
    online.update(stream(1, (32, 64))[0])
    with pytest.raises(ValueError, match=r"a frame of 128x32 pixels was given, .* crop to one size, or call reset\(\)"):
        online.update(stream(1, (32, 128))[0])
    assert online.state.num_frames == 1
    with pytest.raises(ValueError, match=r"the transform made \(3, 1, 40, 44\) of torch.uint8 of a frame: it must"):
        recognizer("tsn", transform=nn.Identity()).update(stream(1)[0])


# Records, classes, tasks


def saved(tmp_path, builder, arguments, **changes) -> str:
    arguments = {"num_classes": len(CLASSES), "backbone": "tiny", **arguments}
    record = dataclasses.replace(
        get_weights("tsn_efficientnet_lite0.in1k"),
        build={"builder": builder, "arguments": arguments},
        input={"resize": 36, "crop": 32, "mean": (104, 117, 123), "std": (1, 1, 1), "value_range": 255.0},
        **({"categories": CLASSES} | changes),
    )
    made = {"create_tsn": create_tsn, "create_trn": create_trn}[builder]
    save_model(made(**arguments), tmp_path / "small.safetensors", record)
    return str(tmp_path / "small.safetensors")


@pytest.mark.slow
def test_a_file_brings_its_transform_and_classes(tmp_path):
    path = saved(tmp_path, "create_trn", {"num_segments": 4})
    frames = stream(4)
    record, net = find_weights(path), load_model(path)
    with torch.inference_mode():
        expected = net(record.transform(one_view=True)(frames.transpose(0, 1))[None]).softmax(1)[0]
    onlines = [OnlineRecognizer(maker) for maker in (path, tmp_path / "small.safetensors", record)]
    onlines.append(OnlineRecognizer(net, weights=record))
    for online in onlines:
        found = [online.update(frame) for frame in frames][-1]
        torch.testing.assert_close(found.scores, expected)
        best = found.best(3)
        assert [entry.name for entry in best] == [CLASSES[i] for i in expected.topk(3).indices]
        assert best[0].score == pytest.approx(float(expected.max()))
        with pytest.raises(ValueError, match="top_k=0 is not allowed: it must be at least 1"):
            found.best(0)


def test_classes_without_names(tmp_path):
    online = recognizer("tsn", num_frames=1)
    with pytest.raises(
        ValueError, match=r"the classes have no names: give OnlineRecognizer weights=, or read \.scores"
    ):
        online.update(stream(1)[0]).best()
    wrong = OnlineRecognizer(model("tsn"), weights=get_weights("tsn_efficientnet_lite0.in1k"), num_frames=1)
    with pytest.raises(ValueError, match="the model has 5 classes, weights= has names of 1000: give its own weights"):
        wrong.update(stream(1)[0]).best()


def test_several_tasks(tmp_path):
    classes = {"verb": CLASSES[:4], "noun": ("door", "cup", "pan")}
    path = saved(tmp_path, "create_tsn", {"num_classes": {"verb": 4, "noun": 3}}, categories=classes)
    online = OnlineRecognizer(path, memory="paper", num_frames=2)
    found = [online.update(frame) for frame in stream(6)]
    for task, number in (("verb", 4), ("noun", 3)):
        assert found[5].logits[task].shape == found[5].scores[task].shape == (number,)
        expected = [found[i].logits[task].softmax(0) for i in (1, 3, 5)]
        torch.testing.assert_close(found[5].scores[task], expected[0] / 4 + expected[1] / 4 + expected[2] / 2)
    best = found[5].best(2)
    assert [entry.task for entry in best] == ["verb", "verb", "noun", "noun"]


def test_several_classes_can_be_right(tmp_path):
    online = OnlineRecognizer(saved(tmp_path, "create_tsn", {}, multi_label=True), num_frames=1)
    found = online.update(stream(1)[0])
    torch.testing.assert_close(found.scores, found.logits.sigmoid())


def test_a_model_with_an_activation_of_its_own():
    online = OnlineRecognizer(model(head_activation=nn.Sigmoid), transform=SMALL, num_frames=1)
    found = online.update(stream(1)[0])
    torch.testing.assert_close(found.scores, found.logits.sigmoid())


def test_models_of_other_dtypes():
    online = OnlineRecognizer(copy.deepcopy(model()).to(torch.bfloat16), transform=SMALL, num_frames=2)
    found = [online.update(frame) for frame in stream(2)][-1]
    plain_online = recognizer(num_frames=2)
    plain = [plain_online.update(frame) for frame in stream(2)][-1]
    assert found.logits.dtype == found.scores.dtype == torch.float32
    assert (found.scores - plain.scores).abs().max() < 0.05


@pytest.mark.parametrize(
    ("family", "memory"),
    [
        ("tsn", "window"),
        pytest.param("trn", "window", marks=pytest.mark.slow),
        pytest.param("eco", "paper", marks=pytest.mark.slow),
        ("eco", "window"),
    ],
)
def test_an_optimised_model_gives_the_same(family, memory):
    plain = recognizer(family, memory=memory)
    net = optimize(model(family), check_input=torch.rand(1, 3, 8, 32, 32))
    assert OnlineRecognizer(net).network.memory == recognizer(family).network.memory
    fast = OnlineRecognizer(net, memory=memory, transform=SMALL)
    found = [(fast.update(frame), plain.update(frame)) for frame in stream(10 if memory == "window" else 16)]
    assert any(one for one, _ in found)
    for one, other in found:
        assert (one is None) == (other is None)
        if one is not None:
            assert_same(one.scores, other.scores, 1e-4)


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.usefixtures("fresh_compiler")
def test_a_compiled_model_gives_the_same():
    plain = recognizer(num_frames=3)
    net = optimize(model(), compile=True, check_input=torch.rand(1, 3, 3, 32, 32))
    fast = OnlineRecognizer(net, num_frames=3, transform=SMALL)
    for number, frame in enumerate(stream(6)):
        one, other = fast.update(frame), plain.update(frame)
        assert (one is None) == (other is None) == (number < 2)
        if one is not None:
            assert_same(one.logits, other.logits, 1e-4)


def test_the_model_goes_to_the_device():
    on_cpu, as_it_is = recognizer("eco", memory="window", device="cpu"), recognizer("eco", memory="window")
    assert on_cpu.network.device == as_it_is.network.device == torch.device("cpu")
    found = [(on_cpu.update(frame), as_it_is.update(frame)) for frame in stream(8)][-1]
    assert torch.equal(found[0].scores, found[1].scores)


@pytest.mark.gpu
@pytest.mark.parametrize(("family", "memory"), [("tsn", "window"), ("eco", "paper"), ("eco", "window")])
def test_a_gpu_gives_the_same(family, memory):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    cpu, gpu = recognizer(family, memory=memory), recognizer(family, memory=memory, device="cuda")
    for frame in stream(24):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            one, other = cpu.update(frame), gpu.update(frame)
        assert (one is None) == (other is None)
        if one is not None:
            assert other.scores.device.type == "cpu"
            assert_same(other.scores, one.scores, 1e-4)
