"""ECO's 3-D network over a sliding window: the same logits, from fewer slices."""

import copy
import functools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pv_sparse import EvaluationTransform, SegmentNet, create_eco, create_eco_lite, create_recurrent
from pv_sparse.online import Held, OnlineRecognizer, WindowMemory
from pv_sparse.online.heads import WholeHead
from pv_sparse.online.recognizer import choose_head
from pv_sparse.online.sliding import SlidingEcoHead, can_slide


def small(builder=create_eco, num_segments=16) -> SegmentNet:
    return copy.deepcopy(built(builder, num_segments))


@functools.cache
def built(builder, num_segments: int) -> SegmentNet:
    torch.manual_seed(0)
    return lively(builder(num_classes=40, num_segments=num_segments, backbone="tiny", width=0.125))


def lively(model: nn.Module) -> nn.Module:
    """With statistics and weights in its BNs that are not those of a new one."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight, mean=1, std=0.2)
            nn.init.normal_(module.bias, std=0.2)
    return model.eval()


def windows(model: SegmentNet, n: int, number: int, size: int = 8):
    """(frame numbers, their maps) of windows that move by one."""
    channels, height = model.backbone.tap_channels, (size, 2)
    maps = [
        tuple(torch.randn(1, c, h, h + 1) for c, h in zip(channels, height, strict=False)) for _ in range(n + number)
    ]
    for start in range(number):
        yield range(start, start + n), maps[start : start + n]


@torch.inference_mode()
def compare(model: SegmentNet, n: int, number: int, size: int = 8, device: str = "cpu", tolerance=1e-5) -> None:
    head, cache = model.head.to(device), ()
    sliding, whole = SlidingEcoHead(head, n), WholeHead(head)
    for frames, maps in windows(model, n, number, size):
        there = [tuple(m.to(device, head.net.stem.weight.dtype) for m in own) for own in maps]
        logits, cache = sliding(cache, frames, there)
        expected, _ = whole((), frames, there)
        for task in expected if isinstance(expected, dict) else (None,):
            ours, theirs = (own[task] if task else own for own in (logits, expected))
            assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize("builder", [create_eco_lite, create_eco])
@pytest.mark.parametrize("n", [4, 8, 16, pytest.param(32, marks=pytest.mark.slow)])
def test_the_logits_are_those_of_the_head(builder, n):
    compare(small(builder, n), n, 3, size=7)


def test_several_tasks():
    classes = {"verb": 20, "noun": 30}
    compare(lively(create_eco(num_classes=classes, num_segments=8, backbone="tiny", width=0.125)), 8, 3, size=7)


@pytest.mark.slow
def test_bfloat16():
    compare(small(num_segments=8).to(torch.bfloat16), 8, 3, size=7, tolerance=0.05)


def test_norms_with_another_eps():
    model = small(num_segments=8)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 0.1
    compare(model, 8, 3, size=7)


@pytest.mark.slow
def test_the_logits_of_the_real_size():
    compare(lively(create_eco(num_classes=400)), 16, 4, size=28)


@pytest.mark.gpu
@pytest.mark.parametrize("builder", [create_eco_lite, create_eco])
def test_the_logits_on_a_gpu(builder):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        compare(lively(builder(num_classes=400)), 16, 6, size=28, device="cuda")


def test_only_new_slices_are_computed():
    """Of 16 frames: all at first, then what the ends and the newest frame change."""
    model = small(create_eco_lite)
    sliding, cache, counts = SlidingEcoHead(model.head, 16), (), []
    sliding.layers = [counted(layer, counts) for layer in sliding.layers]
    for frames, maps in windows(model, 16, 4):
        counts.append([])
        _, cache = sliding(cache, frames, maps)
    assert counts == [[16, 16, 16, 8, 8], [3, 5, 7, 8, 8], [3, 5, 7, 5, 7], [3, 5, 7, 5, 7]]


def counted(layer, counts):
    def compute(inputs, times):
        counts[-1].append(len(times))
        return layer.compute(inputs, times)

    return type(layer)(compute, layer.reach, layer.step)


def test_a_window_seen_again_costs_nothing_and_a_gap_is_no_harm():
    model = small()
    sliding, cache = SlidingEcoHead(model.head, 16), ()
    seen = list(windows(model, 16, 6))
    for number in (0, 0, 3, 5, 1):
        frames, maps = seen[number]
        logits, cache = sliding(cache, frames, maps)
        torch.testing.assert_close(logits, WholeHead(model.head)((), frames, maps)[0])


def test_what_is_kept_is_bounded():
    model = small()
    sliding, cache, sizes = SlidingEcoHead(model.head, 16), (), []
    for frames, maps in windows(model, 16, 6):
        _, cache = sliding(cache, frames, maps)
        parts = {t.data_ptr(): t for layer in cache for slices in layer for own in slices.values() for t in own}
        assert all(t.untyped_storage().nbytes() == t.nbytes for t in parts.values())
        sizes.append(sum(t.nbytes for t in parts.values()))
    assert len(set(sizes[3:])) == 1


def test_no_argument_is_changed():
    model = small()
    sliding = SlidingEcoHead(model.head, 16)
    (first, second) = list(windows(model, 16, 2))
    _, cache = sliding((), *first)
    before = [[[(k, [t.clone() for t in v]) for k, v in s.items()] for s in layer] for layer in cache]
    one, _ = sliding(cache, *second)
    two, _ = sliding(cache, *second)
    assert torch.equal(one, two)
    for layer, was in zip(cache, before, strict=True):
        for slices, then in zip(layer, was, strict=True):
            assert list(slices) == [key for key, _ in then]
            for own, (_, values) in zip(slices.values(), then, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(own, values, strict=True))


def test_where_it_is_used():
    model = small(num_segments=16)
    assert isinstance(OnlineRecognizer(model, memory="window").network.head, SlidingEcoHead)
    assert isinstance(OnlineRecognizer(model, memory="window", num_frames=8).network.head, SlidingEcoHead)
    for arguments in ({}, {"memory": "script"}, {"memory": "window", "num_frames": 4}, {"memory": Padded(16)}):
        assert isinstance(OnlineRecognizer(model, **arguments).network.head, WholeHead)
    assert not can_slide(create_recurrent(num_classes=5, backbone="tiny").head, 16)
    assert isinstance(choose_head(model.head, WindowMemory(16), torch.device("cuda")), WholeHead)


class Padded(WindowMemory):
    """A rule of a user's that reads the first frame several times."""

    def add(self, held: Held, frame: int) -> tuple[Held, bool]:
        last = (*held.read, frame)[-self.num_frames :]
        return Held(((last[0],) * (self.num_frames - len(last)) + last,)), True


def test_frames_that_are_repeated():
    model = small(num_segments=8)
    online = OnlineRecognizer(model, memory=Padded(8), transform=EvaluationTransform(32, 32))
    frames = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    found = [online.update(frame) for frame in frames][-1]
    assert found.frame_indices == [0, 0, 0, 0, 0, 0, 1, 2]
    with torch.inference_mode():
        clip = online.network.transform(frames[found.frame_indices].transpose(0, 1))
        expected = model(clip[None])[0]
    assert (found.logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def conv(old: nn.Conv3d, **changes) -> nn.Conv3d:
    """Another convolution of the same channels."""
    given = {"kernel_size": 3, "stride": old.stride, "padding": 1} | changes
    return nn.Conv3d(old.in_channels, old.out_channels, **given)


CHANGES: dict[str, Callable[[nn.Module], None]] = {
    "kernel": lambda net: setattr(net, "stem", conv(net.stem, kernel_size=(1, 3, 3), padding=(0, 1, 1))),
    "dilation": lambda net: setattr(net.res3b, "conv2", conv(net.res3b.conv2, dilation=2, padding=2)),
    "padding": lambda net: setattr(net.res3b, "conv1", conv(net.res3b.conv1, padding_mode="circular")),
    "groups": lambda net: setattr(net.res3b, "conv1", conv(net.res3b.conv1, groups=2)),
    "in time alone": lambda net: (
        setattr(net.res4a, "conv1", conv(net.res4a.conv1, stride=(2, 1, 1))),
        setattr(net.res4a, "down", conv(net.res4a.down, stride=(2, 1, 1))),
    ),
    "no norm": lambda net: setattr(net.res3b, "norm1", nn.Identity()),
    "no statistics": lambda net: setattr(
        net.res4a, "norm", nn.BatchNorm3d(net.res4a.norm.num_features, track_running_stats=False).eval()
    ),
    "wrapped": lambda net: setattr(net.res3b, "conv1", nn.Sequential(net.res3b.conv1)),
    "parametrised": lambda net: nn.utils.parametrizations.weight_norm(net.res3b.conv1),
    "training": lambda net: net.res5b.norm1.train(),
    "hook": lambda net: net.register_forward_hook(lambda module, inputs, out: out * 2),
    "after it": lambda net: net.add_module("more", nn.ReLU()),
    "end": lambda net: setattr(net, "relu", nn.ELU()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_layers_that_it_does_not_know_run_whole(name):
    model = small(num_segments=8)
    CHANGES[name](model.head.net)
    if name != "training":
        model.eval()
    assert not can_slide(model.head, 8)


def test_convolutions_without_bias():
    model = small(num_segments=8)
    model.head.net.res3b.conv2 = conv(model.head.net.res3b.conv2, bias=False).eval()
    assert can_slide(model.head, 8)
    compare(model, 8, 3, size=7)


def test_it_is_the_model_as_it_was():
    model = small(num_segments=8)
    transform = EvaluationTransform(32, 32)
    frames = torch.randint(0, 256, (10, 3, 32, 32), dtype=torch.uint8)
    onlines = [OnlineRecognizer(net, memory="window", transform=transform) for net in (model, copy.deepcopy(model))]
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    for frame in frames:
        ours, expected = [online.update(frame) for online in onlines]
    assert torch.equal(ours.logits, expected.logits)
    assert ours.logits.std() > 0
