"""SegmentNet and TSN; `test_every_model.py` has what holds for all models."""

import pytest
import torch
from torch import nn

from pv_sparse import SegmentNet, create_tsn
from pv_sparse.models.segment_net import fold_segments
from pv_sparse.models.tsn import ConsensusHead


def video(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def tsn(**arguments):
    model = create_tsn(**({"num_classes": 7, "backbone": "tiny"} | arguments)).eval()
    nn.init.normal_(model.head.fc.weight)
    return model


# The fold


def test_folding_puts_the_frames_of_a_segment_one_after_another():
    frames = torch.arange(2 * 2 * 6).reshape(2, 2, 6, 1, 1)  # (N, C, S*L, H, W): the value is n*12 + c*6 + t
    folded = fold_segments(frames, frames_per_segment=3)
    assert folded.shape == (4, 6, 1, 1)
    assert folded[0].flatten().tolist() == [0, 6, 1, 7, 2, 8]
    assert folded[1].flatten().tolist() == [3, 9, 4, 10, 5, 11]
    assert folded[2].flatten().tolist() == [12, 18, 13, 19, 14, 20]


def test_a_single_clip_and_an_odd_number_of_frames_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 8, 64, 64\) was given; the model takes \(N, C, T, H, W\)"):
        tsn()(video(3, 8, 64, 64))
    with pytest.raises(ValueError, match="7 frames was given to a model of 5 frames per segment"):
        fold_segments(video(1, 3, 7, 8, 8), 5)
    with pytest.raises(ValueError, match=r"a video of torch\.uint8 was given; the model takes normalised floats"):
        tsn()(torch.zeros(1, 3, 5, 64, 64, dtype=torch.uint8))
    with pytest.raises(ValueError, match="a video of 0 frames was given"):
        fold_segments(video(1, 3, 0, 8, 8))


def test_an_empty_batch_gives_no_logits():
    assert tsn()(video(0, 3, 4, 64, 64)).shape == (0, 7)


def test_another_number_of_channels_is_told():
    with pytest.raises(ValueError, match="a video of 2 channels was given; the model takes 3"):
        tsn()(video(1, 2, 4, 64, 64))
    with pytest.raises(ValueError, match="a video of 3 channels was given; the model takes 2"):
        tsn(in_channels=2, frames_per_segment=5)(video(1, 3, 5, 64, 64))


def test_any_backbone_goes_under_any_head():
    class Two(nn.Module):
        def forward(self, images):
            return (nn.functional.avg_pool2d(images, 4),)

    net = SegmentNet(Two(), ConsensusHead(in_channels=10, num_classes=4), frames_per_segment=5)
    assert net(video(2, 2, 15, 8, 8)).shape == (2, 4)


# TSN


@pytest.mark.parametrize("segments", [1, 3, 25])
def test_any_number_of_segments(segments):
    assert tsn()(video(2, 3, segments, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize(
    ("consensus", "agree"),
    [
        ("avg", lambda logits: logits.mean(dim=0)),
        ("max", lambda logits: logits.amax(dim=0)),
        ("topk", lambda logits: logits.sort(dim=0).values[-3:].mean(dim=0)),
        ("attention", lambda logits: logits.mean(dim=0)),  # as it starts
    ],
)
def test_the_consensus_is_over_each_segments_logits(consensus, agree):
    model = tsn(consensus=consensus)
    frames = video(2, 3, 4, 64, 64)
    alone = torch.stack([model(frames[:, :, i : i + 1]) for i in range(4)])
    torch.testing.assert_close(model(frames), agree(alone), rtol=1e-4, atol=1e-5)


def test_attention_weighs_the_segments_by_what_they_show():
    model = tsn(consensus="attention")
    nn.init.normal_(model.head.attention.weight)
    frames = video(1, 3, 4, 64, 64)
    (features,) = (m.mean(dim=(3, 4)) for m in model.maps(frames))
    weights = model.head.attention(features).softmax(dim=1)
    assert weights.sum().item() == pytest.approx(1)
    torch.testing.assert_close(model(frames), model.head.fc((weights * features).sum(dim=1)), rtol=1e-4, atol=1e-4)


def test_fusing_features_or_logits_is_the_same_in_eval_for_the_average():
    features, logits = tsn(fusion="features"), tsn()
    logits.load_state_dict(features.state_dict())
    frames = video(2, 3, 5, 64, 64)
    torch.testing.assert_close(features(frames), logits(frames), rtol=1e-4, atol=1e-4)


def test_top_k_of_fewer_segments_is_all_of_them():
    few, average = tsn(consensus="topk", topk=9), tsn()
    average.load_state_dict(few.state_dict())
    frames = video(1, 3, 2, 64, 64)
    torch.testing.assert_close(few(frames), average(frames))


def test_several_tasks_give_a_dict():
    model = create_tsn(num_classes={"verb": 3, "noun": 2}, backbone="tiny")
    logits = model(video(2, 3, 2, 64, 64))
    assert {task: values.shape for task, values in logits.items()} == {"verb": (2, 3), "noun": (2, 2)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 0}, "num_classes=0 is not allowed: it must be a number of at least 1"),
        ({"num_classes": {}}, "name at least one task"),
        ({"num_classes": "7"}, "num_classes=7 is not allowed: it must be a number"),
        ({"num_classes": {"a.b": 3}}, "a task cannot be called 'a.b': choose another word"),
        ({"num_classes": {"keys": 3}}, "a task cannot be called 'keys'"),
        ({"consensus": "mean"}, "consensus='mean' is unknown: choose one of avg, max, topk, attention"),
        ({"fusion": "scores"}, "fusion='scores' is unknown: choose one of logits, features"),
        ({"topk": 0}, "topk=0 is not allowed"),
        ({"frames_per_segment": 0}, "in_channels=0 is not allowed"),
    ],
)
def test_arguments_that_make_no_sense(arguments, words):
    with pytest.raises(ValueError, match=words):
        create_tsn(**({"num_classes": 3, "backbone": "tiny"} | arguments))


def test_a_misspelt_argument_is_no_argument():
    with pytest.raises(TypeError, match="drop_out"):
        create_tsn(num_classes=3, drop_out=0.5)


# The host's words


def test_the_hosts_words_are_taken():
    model = create_tsn(
        model_num_class=4,
        backbone="tiny",
        dropout_rate=0.1,
        input_channel=2,
        frames_per_segment=5,
        head_activation=nn.Softmax,
    )
    assert model.head.dropout.p == 0.1
    scores = model.eval()(video(2, 2, 10, 64, 64))
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(2))


def test_one_thing_is_not_said_twice():
    with pytest.raises(TypeError, match="got num_classes twice: once by the host's word for it"):
        create_tsn(num_classes=3, model_num_class=4)
    with pytest.raises(TypeError, match="num_classes"):
        create_tsn(backbone="tiny")
