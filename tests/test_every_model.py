"""What every model must do, whatever its family; `test_originals.py` says that the numbers are right."""

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import pv_sparse as pvs

TASKS = {"verb": 5, "noun": 3}


@dataclass(frozen=True)
class Case:
    """How to build a model, what it takes, and whether the order of segments is nothing to it."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (2, 3, 4, 64, 64)
    is_orderless: bool = False
    is_quick: bool = True
    why_not_compiled: str = ""


def tsn(shape=(2, 3, 4, 64, 64), is_quick=True, **arguments) -> Case:
    arguments = {"num_classes": 5, "backbone": "tiny"} | arguments
    return Case(lambda: pvs.create_tsn(**arguments), shape, is_orderless=True, is_quick=is_quick)


def trn(shape=(2, 3, 4, 64, 64), is_quick=True, **arguments) -> Case:
    arguments = {"num_classes": 5, "num_segments": shape[2], "backbone": "tiny"} | arguments
    return Case(lambda: pvs.create_trn(**arguments), shape, is_quick=is_quick)


def host_trn() -> nn.Module:
    from functools import partial

    from pytorchvideo.models.resnet import create_resnet

    head = partial(pvs.create_multiscale_relation_head, num_segments=4)
    return create_resnet(input_channel=3, model_depth=50, model_num_class=5, stem_dim_out=8, head=head)


def host_tsn() -> nn.Module:
    from pytorchvideo.models.resnet import create_resnet

    net = create_resnet(input_channel=3, model_depth=50, model_num_class=5, stem_dim_out=8)
    return pvs.create_tsn(num_classes=5, backbone=pvs.HostBackbone(net, frames_per_segment=2), frames_per_segment=2)


def ensemble() -> nn.Module:
    return pvs.create_eco_ensemble(num_classes=5, num_segments=(4, 8), backbone="tiny", width=0.125)


def eco(builder, **arguments) -> Case:
    arguments = {"num_classes": 5, "num_segments": 4, "backbone": "tiny", "width": 0.125} | arguments
    return Case(lambda: builder(**arguments))


CASES = {
    "tsn": tsn(),
    "tsn_max": tsn(consensus="max"),
    "tsn_topk": tsn(consensus="topk", topk=2),
    "tsn_attention": tsn(consensus="attention"),
    "tsn_attention_of_features": tsn(consensus="attention", fusion="features"),
    "tsn_features": tsn(fusion="features"),
    "tsn_flow": tsn(shape=(2, 2, 15, 64, 64), in_channels=2, frames_per_segment=5),
    "tsn_two_tasks": tsn(num_classes=TASKS, consensus="max"),
    "tsn_softmax": tsn(head_activation=nn.Softmax),
    "tsn_efficientnet_lite0": tsn(backbone="efficientnet_lite0"),
    "tsn_resnet18": tsn(backbone="resnet18", is_quick=False),
    "tsn_mobilenet_v3": tsn(backbone="mobilenet_v3_small", is_quick=False),
    "tsn_bn_inception": tsn(backbone="bn_inception", is_quick=False),
    "tsn_inception_v3_trn": tsn(shape=(2, 3, 2, 107, 107), backbone="inception_v3_trn", is_quick=False),
    "trn": trn(),
    "trn_two_segments": trn(shape=(2, 3, 2, 64, 64)),
    "trn_single_scale": trn(multi_scale=False),
    "trn_grid": trn(grid=(1, 2)),
    "trn_two_tasks": trn(num_classes=TASKS),
    "trn_many_segments": trn(shape=(2, 3, 12, 32, 32), is_quick=False),
    "lstm": Case(lambda: pvs.create_recurrent(num_classes=5, backbone="tiny", hidden=32)),
    "gru": Case(lambda: pvs.create_recurrent(num_classes=TASKS, cell="gru", backbone="tiny", hidden=32)),
    "conv_lstm": Case(lambda: pvs.create_conv_lstm(num_classes=5, backbone="tiny", hidden=8)),
    "eco_lite": eco(pvs.create_eco_lite),
    "eco_lite_bn_inception": eco(pvs.create_eco_lite, backbone="bn_inception"),
    "eco": eco(pvs.create_eco),
    "eco_two_tasks": eco(pvs.create_eco, num_classes=TASKS),
    "eco_ensemble": Case(ensemble, shape=(2, 3, 8, 64, 64)),
    "c3d_resnet18": Case(lambda: pvs.C3DResNet18(num_classes=5), shape=(2, 3, 8, 32, 32), is_quick=False),
    "host_trunk_with_trn_head": Case(
        host_trn,
        is_quick=False,
        why_not_compiled="the host's builders leave NumPy integers in strides, which torch.compile refuses",
    ),
    "tsn_on_host_trunk": Case(host_tsn, shape=(2, 3, 8, 64, 64), is_orderless=True, is_quick=False),
}
every_model = pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=name, marks=[] if c.is_quick else pytest.mark.slow) for name, c in CASES.items()],
    scope="module",  # the tests of a case come one after another
)
# Tracing takes seconds: in the quick suite one model a family.
FEW = ("tsn_attention", "trn", "gru", "eco")
every_model_a_few_quickly = pytest.mark.parametrize(
    "case", [pytest.param(c, id=n, marks=[] if n in FEW else pytest.mark.slow) for n, c in CASES.items()]
)


def video(case: Case) -> Tensor:
    return torch.randn(case.shape, generator=torch.Generator().manual_seed(1))


def lively(case: Case) -> nn.Module:
    """With weights large enough that logits differ and, unlike the host's, no branch that starts at zero."""
    model = case.build()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.3)
        elif parameter.ndim == 1 and ("norm" in name or "bn" in name):
            nn.init.normal_(parameter, mean=1.0, std=0.1)
    return model


def evaluated(case: Case) -> nn.Module:
    return lively(case).eval()


def flat(logits) -> Tensor:
    """All tasks in one row a video."""
    return torch.cat([*logits.values()], dim=1) if isinstance(logits, dict) else logits


@pytest.fixture(scope="module")
def model(case) -> nn.Module:
    """One in eval mode, for the tests of a case that leave it as it is."""
    torch.manual_seed(0)
    return evaluated(case)


@pytest.fixture(scope="module")
def logits(case, model) -> Tensor | dict[str, Tensor]:
    """What `model` says of `video`, when it is asked for the first time."""
    with torch.no_grad():
        return model(video(case))


@every_model
def test_forward(case, logits):
    num_logits = sum(TASKS.values()) if isinstance(logits, dict) else 5
    assert flat(logits).shape == (2, num_logits)
    assert flat(logits).isfinite().all()


@every_model
def test_a_gradient_in_every_parameter(case):
    model = lively(case).train()
    flat(model(video(case))).square().sum().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    # The bias of a convolution under BN has a gradient of zero, but for rounding.
    without += [n for n, p in model.named_parameters() if p.grad is not None and p.ndim > 1 and not p.grad.any()]
    assert without == []


@every_model
@torch.inference_mode()
def test_two_eval_passes_are_equal(case, model, logits):
    torch.testing.assert_close(model(video(case)), logits, rtol=0, atol=0)


@every_model
@torch.inference_mode()
def test_a_batch_of_two_is_two_of_one(case, model, logits):
    alone = torch.cat([flat(model(clip)) for clip in video(case).split(1)])
    torch.testing.assert_close(flat(logits), alone, rtol=1e-4, atol=1e-4)


@every_model
@torch.inference_mode()
def test_copies_and_state_dicts_are_the_same_model(case, model, logits):
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    other = case.build().eval()
    stored.seek(0)
    other.load_state_dict(torch.load(stored, weights_only=True))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), other):
        torch.testing.assert_close(twin(video(case)), logits, rtol=0, atol=0)


@every_model
@torch.inference_mode()
def test_bfloat16_says_about_the_same(case, model, logits):
    expected = flat(logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = flat(model(video(case))).float()
    assert (found - expected).abs().max() < 0.1 * expected.abs().max().clamp(min=1)


@every_model
@torch.inference_mode()
def test_the_order_of_segments_matters_where_it_should(case, model, logits):
    num_frames = getattr(model, "frames_per_segment", 1)
    segments = video(case).unflatten(2, (-1, num_frames))
    order = torch.arange(segments.shape[2]).roll(1)
    expected = flat(logits)
    difference = (flat(model(segments[:, :, order].flatten(2, 3))) - expected).abs().max() / expected.abs().max()
    if case.is_orderless:
        assert difference < 1e-4
    else:
        assert difference > 1e-3


@pytest.mark.slow
@every_model_a_few_quickly
@torch.no_grad()
def test_torch_export(case):
    model, clips = evaluated(case), video(case)
    exported = torch.export.export(model, (clips,)).module()
    torch.testing.assert_close(exported(clips), model(clips), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@every_model_a_few_quickly
@torch.no_grad()
def test_torch_compile_takes_it_whole(case):
    if case.why_not_compiled:
        pytest.skip(case.why_not_compiled)
    model, clips = evaluated(case), video(case)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(clips), model(clips), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_compiled_for_real(name):
    """By inductor, in eval and with gradients."""
    torch.compiler.reset()
    model, clips = evaluated(CASES[name]), video(CASES[name])
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(clips), model(clips), rtol=1e-3, atol=1e-3)
    torch.compile(model.train(), fullgraph=True)(clips)


@pytest.mark.gpu
@every_model
@torch.inference_mode()
def test_a_gpu_says_what_the_cpu_says(case):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model, clips = evaluated(case), video(case)
    expected = flat(model(clips))
    found = flat(model.cuda()(clips.cuda())).cpu()
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3 * expected.abs().max().item())


def test_an_lstm_begins_by_remembering():
    cell = pvs.create_recurrent(num_classes=5, backbone="tiny", cell="lstm", hidden=4).head.cell
    assert cell.bias_hh[4:8].tolist() == [1.0] * 4  # PyTorch's order of the gates: input, forget, cell, output
    gates = pvs.create_conv_lstm(num_classes=5, backbone="tiny", hidden=4).head.cell.gates
    assert gates.bias[:4].tolist() == [1.0] * 4
    assert (gates.bias[4:] < 1).all()
