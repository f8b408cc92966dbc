"""`optimize` gives the same logits from another module, and says what it did."""

import copy
import io
import pickle

import pytest
import torch
from test_temporal_winograd import randomise_norms
from torch import nn
from torch.nn import functional as F

import pv_sparse as pvs
from pv_sparse.inference import Optimization, optimize, optimizing, packed_conv
from pv_sparse.inference.checking import compared
from pv_sparse.inference.folding import fold_norms
from pv_sparse.inference.packed_conv import PackedConv2d, can_pack, pack_convolutions
from pv_sparse.inference.temporal_winograd import TemporalWinogradConv3d
from pv_sparse.models.resnet3d import ResNet3D

VIDEO = (2, 3, 8, 32, 32)
TASKS = {"verb": 5, "noun": 3}
ECO = {"backbone": "tiny", "width": 0.125}
MODELS = {
    "tsn": lambda: pvs.create_tsn(num_classes=5, backbone="tiny"),
    "tsn_two_tasks": lambda: pvs.create_tsn(num_classes=TASKS, backbone="tiny"),
    "tsn_softmax": lambda: pvs.create_tsn(num_classes=5, backbone="tiny", head_activation=nn.Softmax),
    "trn": lambda: pvs.create_trn(num_classes=5, backbone="tiny"),
    "eco_lite": lambda: pvs.create_eco_lite(num_classes=5, **ECO),
    "eco": lambda: pvs.create_eco(num_classes=5, **ECO),
    "ensemble": lambda: pvs.create_eco_ensemble(num_classes=5, num_segments=(4, 4), **ECO),
    "lstm": lambda: pvs.create_recurrent(num_classes=5, backbone="tiny", hidden=16),
    "conv_lstm": lambda: pvs.create_conv_lstm(num_classes=TASKS, backbone="tiny", hidden=8),
    "c3d": lambda: pvs.C3DResNet18(num_classes=5),
}


def built(name: str) -> nn.Module:
    """With statistics of batch norms, and logits, that are not all alike."""
    model = randomise_norms(MODELS[name]())
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.2)
    return model


def assert_same(given, expected, **tolerance) -> None:
    tolerance = tolerance or {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(given, expected, **tolerance)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "c3d" else name for name in MODELS]
)
@torch.no_grad()
def test_the_logits_stay_and_so_does_the_given_model(name):
    model = built(name)
    before = copy.deepcopy(model.state_dict())
    video = torch.randn(VIDEO)
    fast = optimize(model, check_input=video[:1])
    assert_same(fast(video), model(video))
    assert_same(fast(video.double()), model(video))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    record = fast.optimization
    assert isinstance(record, Optimization)
    assert record.relative_difference < 1e-4
    assert record.top1_unchanged
    assert "batch norms folded into convolutions" in str(record)


@torch.no_grad()
def test_the_record_says_what_was_done():
    record = optimize(built("eco"), check_input=torch.randn(VIDEO)).optimization
    assert record.steps[:2] == ("10 of 16 batch norms folded into convolutions", "channels last")
    assert record.steps[-2].startswith("9 of 13 3-D convolutions as temporal Winograd F(2,3)")
    assert record.steps[-1] == record.precision == "float32"
    with pytest.raises(AttributeError):
        record.precision = "int8"
    assert len(str(record).splitlines()) == 2


@torch.no_grad()
def test_its_parts_can_be_called_one_by_one():
    model = built("eco")
    fast = optimize(model, check_input=torch.randn(VIDEO))
    video = torch.randn(VIDEO)
    for mine, given in zip(fast.maps(video), model.maps(video), strict=True):
        assert_same(mine, given)
    assert_same(fast.head(*fast.maps(video)), model(video))
    one_by_one = [fast.backbone(video[:1, :, n]) for n in range(VIDEO[2])]
    maps = [torch.stack(of_tap, dim=1) for of_tap in zip(*one_by_one, strict=True)]
    assert_same(fast.head(*maps), model(video[:1]))
    kept = ("taps", "tap_channels", "in_channels")
    assert all(getattr(fast.backbone, name) == getattr(model.backbone, name) for name in kept)
    assert (fast.num_segments, fast.frames_per_segment) == (16, 1)
    assert isinstance(fast, pvs.SegmentNet)


@torch.no_grad()
def test_any_batch_and_number_of_frames():
    model = built("eco_lite")
    fast = optimize(model, check_input=torch.randn(VIDEO))
    for shape in [(1, 3, 4, 64, 64), (3, 3, 8, 32, 32)]:
        video = torch.randn(shape)
        assert_same(fast(video), model(video))
    with pytest.raises(ValueError, match="multiple of 4"):
        fast(torch.randn(1, 3, 6, 64, 64))
    with pytest.raises(ValueError, match="a video of 2 channels was given"):
        fast(torch.randn(1, 2, 4, 64, 64))


@torch.no_grad()
def test_a_trn_still_explains_itself():
    model, video = built("trn"), torch.randn(VIDEO)
    mine, given = (m.explain(video, top_k=1)[0] for m in (optimize(model, check_input=video), model))
    assert mine.class_index == given.class_index
    assert mine.tuples[0].segments == given.tuples[0].segments


@torch.no_grad()
def test_modalities_fused_late():
    flow = pvs.create_tsn(num_classes=5, backbone="tiny", in_channels=2, frames_per_segment=5)
    model = randomise_norms(pvs.LateFusion({"rgb": MODELS["tsn"](), "flow": flow}))
    videos = {"rgb": torch.randn(VIDEO), "flow": torch.randn(2, 2, 40, 32, 32)}
    assert_same(optimize(model, check_input=videos)(videos), model(videos))


@torch.no_grad()
def test_without_a_check_input_it_makes_one():
    model = built("tsn_two_tasks")
    fast = optimize(model)
    assert fast.optimization.top1_unchanged
    assert not any(module.training for module in fast.modules())
    video = torch.randn(VIDEO)
    assert_same(fast(video), model(video))


@torch.no_grad()
def test_a_network_that_is_not_ours():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    images = torch.randn(2, 3, 8, 8)
    fast = optimize(randomise_norms(net), check_input=images)
    assert_same(fast(images.half().double()), net(images.half().float()))
    assert fast.optimization.steps[0] == "1 of 1 batch norms folded into convolutions"
    with pytest.raises(ValueError, match="what a Sequential takes is not known: give check_input"):
        optimize(net)


class Shared(nn.Module):
    """Norms that cannot be folded: of a convolution that others read, that runs twice, or that is none."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(4))

    def forward(self, images):
        read_twice = self.first(images)
        total = self.norms[0](read_twice) + read_twice
        total = self.norms[1](self.second(total)) + self.norms[2](self.second(images))
        return self.norms[3](total)


@torch.no_grad()
def test_norms_are_folded_only_where_nothing_else_sees_it():
    net, images = randomise_norms(Shared()), torch.randn(2, 3, 4, 4)
    expected = net(images)
    assert fold_norms(net, images) == (0, 4)
    assert_same(net(images), expected)


class Held(nn.Module):
    """What it holds under several names, or looks at on the way, or calls by function."""

    def __init__(self, way, is_in_place=False):
        super().__init__()
        self.way = way
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(is_in_place))
        self.norm, self.act = self.layers[1], self.layers[2]
        self.bare = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, images):
        return getattr(self, self.way)(images).mean((2, 3))

    def aliases(self, images):
        return self.act(self.norm(self.layers[0](images)))

    def tap(self, images):
        seen = []
        for layer in self.layers:
            images = layer(images)
            seen.append(images.mean((2, 3), keepdim=True))
        return sum(seen) + images

    def act_twice(self, images):
        return self.act(self.layers[0](self.act(images)))

    def function(self, images):
        mean, var = self.norm.running_mean, self.norm.running_var
        out = F.conv2d(input=images, weight=self.layers[0].weight)
        return self.act(F.batch_norm(out, running_mean=mean, running_var=var))

    def batch_statistics(self, images):
        return self.act(self.bare(self.layers[0](images)))


@pytest.mark.parametrize("is_in_place", [False, True])
@pytest.mark.parametrize(
    ("way", "folded", "fused"),
    [("aliases", 1, 1), ("tap", 0, 0), ("act_twice", 0, 0), ("function", 0, 0), ("batch_statistics", 0, 0)],
)
@torch.no_grad()
def test_only_what_a_run_shows_is_folded_and_fused(way, folded, fused, is_in_place):
    net, images = randomise_norms(Held(way, is_in_place)), torch.randn(2, 3, 6, 6)
    fast = optimize(net, check_input=images.clone())
    assert_same(fast(images.clone()), net(images.clone()))
    assert fast.optimization.steps[0] == f"{folded} of 2 batch norms folded into convolutions"
    if can_pack():
        assert fast.optimization.steps[2].endswith(f"laid out once, {fused} with their ReLU")


@torch.no_grad()
def test_without_the_operators_of_onednn(monkeypatch):
    monkeypatch.setattr(packed_conv, "ONEDNN", object())
    assert not can_pack()
    model, video = built("eco"), torch.randn(VIDEO)
    fast = optimize(model, check_input=video)
    assert_same(fast(video), model(video))
    assert not any(isinstance(module, PackedConv2d) for module in fast.modules())
    assert any(isinstance(module, TemporalWinogradConv3d) for module in fast.modules())


class Strange(nn.Module):
    """A backbone of someone else."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 192, 3, 2)

    def forward(self, images):
        return (self.conv(images),)


@torch.no_grad()
def test_a_backbone_that_is_not_ours():
    head = pvs.create_tsn(num_classes=5, backbone="tiny").head
    model = pvs.SegmentNet(Strange(), head).eval()
    video = torch.randn(VIDEO)
    assert_same(optimize(model, check_input=video)(video), model(video))
    with pytest.raises(ValueError, match="what a Strange takes is not known: give check_input"):
        optimize(model)


@torch.no_grad()
def test_copied_in_inference_mode():
    fast, video = optimize(built("tsn"), check_input=torch.randn(VIDEO)), torch.randn(VIDEO)
    with torch.inference_mode():
        assert_same(copy.deepcopy(fast)(video), fast(video))


class Gives(nn.Module):
    """What `make` makes of its logits."""

    def __init__(self, make):
        super().__init__()
        self.layer, self.make = nn.Linear(3, 4), make

    def forward(self, values):
        return self.make(self.layer(values))


@pytest.mark.parametrize("make", [lambda y: (y, y), lambda y: {"a": [y]}, lambda y: None])
@torch.no_grad()
def test_outputs_that_are_no_logits(make):
    with pytest.raises(ValueError, match=r"it must give logits, a Tensor or a dict of Tensors by task"):
        optimize(Gives(make).eval(), check_input=torch.randn(2, 3))


NAN, ONES = torch.full((2, 3), torch.nan), torch.eye(3)[:2]


@pytest.mark.parametrize(
    ("precision", "given", "found", "message"),
    [
        ("float32", ONES, ONES + 0.01, "cannot be optimised safely: its logits move by 1.0e-02"),
        ("float32", ONES, NAN, "cannot be optimised safely: its logits move by nan"),
        ("float16", ONES, NAN, "precision='float16' gives logits that are no finite numbers: try bfloat16"),
        ("float32", NAN, NAN, "own logits on the check input are no finite numbers: give another check_input"),
    ],
)
def test_a_result_that_is_wrong_is_not_given_out(precision, given, found, message):
    with pytest.raises(ValueError, match=message) as told:
        compared([], precision, {"verb": ONES, "noun": given}, {"verb": ONES, "noun": found})
    assert "\n" not in str(told.value)
    assert compared([], precision, {"": torch.ones(1, 1)}, {"": torch.ones(1, 1) + 1e-7}).top1_unchanged


@torch.no_grad()
def test_an_optimisation_that_breaks_the_model_is_told(monkeypatch):
    def breaks(net, *_):
        next(net.parameters()).mul_(2)
        return 0, 0

    monkeypatch.setattr(optimizing, "fold_norms", breaks)
    with pytest.raises(ValueError, match="the model cannot be optimised safely"):
        optimize(built("tsn"), check_input=torch.randn(VIDEO))


BACKBONES = ["tiny", "resnet18", "efficientnet_lite0", "mobilenet_v3_small", "timm/resnet10t", "bn_inception"]


@pytest.mark.parametrize(
    "name", [name if name == "tiny" else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES]
)
@torch.no_grad()
def test_every_kind_of_backbone_is_folded_whole(name):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    backbone = randomise_norms(pvs.create_backbone(name))
    images = torch.randn(2, 3, 64, 64)
    expected = backbone(images)[0]
    folded, norms = fold_norms(backbone, images)
    assert folded == norms > 0
    assert_same(backbone(images)[0], expected, rtol=1e-3, atol=1e-3 * float(expected.std()))
    pack_convolutions(backbone, images)
    assert_same(backbone(images)[0], expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


@torch.no_grad()
def test_packed_weights_follow_changes_and_are_not_copied():
    if not can_pack():
        pytest.skip("this torch has no oneDNN convolutions")
    holder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.ReLU6())
    images = torch.randn(2, 3, 8, 8)
    plain = copy.deepcopy(holder)
    assert pack_convolutions(holder, images)[1:] == (1, 1)
    assert_same(holder(images), plain(images))
    assert_same(holder(images[:1, :, :5]), plain(images[:1, :, :5]))
    for net in (holder, plain):
        net[0].weight.mul_(3)
    assert_same(holder(images), plain(images))
    others = [nn.Sequential(nn.Conv2d(3, 4, 3)).state_dict() for _ in range(3)]
    for state, is_assigned in zip(others, (True, True, False), strict=True):
        for net in (holder, plain):
            net.load_state_dict(copy.deepcopy(state), assign=is_assigned)
        assert_same(holder(images), plain(images))
    twin = pickle.loads(pickle.dumps(holder))
    assert isinstance(twin[0], PackedConv2d)
    assert twin[0]._packed is None
    assert_same(twin(images), plain(images))
    assert holder.double()(images.double()).dtype == torch.float64


@torch.no_grad()
def test_copied_and_pickled():
    fast, video = optimize(built("eco"), check_input=torch.randn(VIDEO)), torch.randn(VIDEO)
    saved = io.BytesIO()
    torch.save(fast, saved)
    saved.seek(0)
    for twin in (copy.deepcopy(fast), torch.load(saved, weights_only=False)):
        assert_same(twin(video), fast(video))
        assert twin.optimization == fast.optimization


@pytest.mark.parametrize("name", ["tsn", "trn", "eco", "conv_lstm"])
@torch.no_grad()
def test_bfloat16_keeps_the_best_class(name):
    model, video = built(name), torch.randn(VIDEO)
    fast = optimize(model, precision="bfloat16", check_input=video)
    assert fast.optimization.top1_unchanged
    assert 0 < fast.optimization.relative_difference < 0.1
    assert "bfloat16" in fast.optimization.steps
    assert not any(isinstance(module, TemporalWinogradConv3d) for module in fast.modules())
    logits = fast(video)
    for of_task in logits.values() if isinstance(logits, dict) else [logits]:
        assert of_task.dtype == torch.float32
    assert all(m.dtype == torch.float32 for m in fast.maps(video))


def test_errors():
    model = built("tsn")
    with pytest.raises(ValueError, match=r"precision='int8' is unknown: choose one of float32, bfloat16, float16"):
        optimize(model, precision="int8")
    with pytest.raises(ValueError, match=r"in training mode: call model.eval\(\) first"):
        optimize(MODELS["tsn"]().train())
    with pytest.raises(ValueError, match="optimised before"):
        optimize(pvs.LateFusion({"rgb": optimize(model, check_input=torch.randn(1, 3, 1, 32, 32))}).eval())
    with pytest.raises(ValueError, match=r"weights are torch.float64: convert it with model.float\(\) first"):
        optimize(model.double())


def test_a_precision_that_the_device_lacks(monkeypatch):
    def refuse(*_):
        raise RuntimeError('"conv" not implemented for Half')

    monkeypatch.setattr(torch, "conv3d", refuse)
    with pytest.raises(ValueError, match="precision='float16' cannot be computed in on cpu: try bfloat16"):
        optimize(built("tsn"), precision="float16")


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("name", ["trn", "eco_lite"])
@torch.no_grad()
def test_compiled(name):
    model, video = built(name), torch.randn(VIDEO)
    if name == "eco_lite":  # one block, as more take minutes to compile
        model.head.net = randomise_norms(ResNet3D(model.head.net.stem, {"res5a": (512, 2)}, ECO["width"]))
    fast = optimize(model, compile=True, check_input=video[:1])
    assert fast.optimization.steps[-1] == "compiled"
    for size in (1, 2, 3):
        videos = torch.randn(size, *VIDEO[1:])
        assert_same(fast(videos), model(videos))
    if name == "trn":
        image = video[0, :, :1].transpose(0, 1)
        assert_same(fast.backbone(image)[0], model.backbone(image)[0])
        assert_same(copy.deepcopy(fast)(video), model(video))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.usefixtures("fresh_compiler")
def test_compiled_without_a_compiler():
    from torch._inductor import config

    # monkeypatch would delete the setting afterwards, for every test that compiles later.
    without = config.patch({"cpp.cxx": ("no-such-compiler",)})
    told = r"needs a C\+\+ compiler, and none was found: install g"
    with without, pytest.raises(pvs.PvSparseError, match=told):
        optimize(built("tsn"), compile=True, check_input=torch.randn(1, 3, 1, 37, 35))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("name", ["trn", "eco", "conv_lstm"])
@torch.no_grad()
def test_on_a_gpu(name, precision, is_compiled):
    model, video = built(name).cuda(), torch.randn(VIDEO).cuda()
    fast = optimize(model, precision, is_compiled, check_input=video)
    assert fast.optimization.relative_difference < (1e-2 if precision == "float32" else 0.1)  # cuDNN may use TF32
    first = fast(video)
    kept = copy.deepcopy(first)
    fast(torch.randn(VIDEO).cuda())
    assert_same(first, kept)  # CUDA graphs do not overwrite what was given out
