"""recognize(): the result record, and the videos it refuses."""

import dataclasses

import pytest
import torch
from conftest import CLASSES
from index_video import write_index_video

from pv_sparse import (
    PvSparseError,
    Recognizer,
    SparseVideo,
    VideoDecodeError,
    WeightsError,
    create_trn,
    create_tsn,
    get_weights,
    load_model,
    recognize,
    save_model,
    segment_indices,
)
from pv_sparse.transforms import views
from pv_sparse.zoo.loading import find_weights


def test_the_record_says_what_was_seen_and_what_it_is(index_video, weights):
    result = recognize(index_video, weights, top_k=3)
    indices = segment_indices(60, 8).flatten()
    assert result.path == str(index_video)
    assert result.error is None
    assert result.weights == weights
    assert result.num_frames == 60
    assert result.frame_indices == indices.tolist()
    assert result.frame_times_seconds == pytest.approx((indices / 25).tolist())
    assert len(result.classes) == 3
    assert [CLASSES[entry.index] for entry in result.classes] == [entry.name for entry in result.classes]
    assert [entry.score for entry in result.classes] == sorted((entry.score for entry in result.classes), reverse=True)


def test_the_scores_are_the_softmax_of_the_model_on_those_frames(index_video, weights):
    recognizer = Recognizer(weights)
    with SparseVideo(index_video) as video, torch.inference_mode():
        frames = video.frames_at(segment_indices(60, 8))
        expected = recognizer.model(recognizer.weights.transform(one_view=True)(frames.transpose(0, 1))[None]).softmax(
            1
        )[0]
    result = recognizer(index_video, top_k=100)
    assert len(result.classes) == len(CLASSES)
    assert sum(entry.score for entry in result.classes) == pytest.approx(1)
    for entry in result.classes:
        assert entry.score == pytest.approx(float(expected[entry.index]))


def test_each_frame_alone_is_a_video_of_that_frame(index_video, weights):
    recognizer = Recognizer(weights)
    look = recognizer.look(index_video)
    alone = recognizer.scores_of_each_frame(look)
    assert alone.shape == (8, len(CLASSES))
    torch.testing.assert_close(alone.sum(1), torch.ones(8))
    one = dataclasses.replace(look, frames=look.frames[2:3])
    torch.testing.assert_close(alone[2], recognizer.scores(one), rtol=1e-4, atol=1e-5)


def test_each_frame_alone_stands_still_for_a_model_of_relations(index_video, tmp_path):
    """A TRN needs its number of segments: each of them is the frame."""
    record = dataclasses.replace(
        get_weights("tsn_efficientnet_lite0.in1k"),
        build={
            "builder": "create_trn",
            "arguments": {"num_classes": len(CLASSES), "num_segments": 4, "backbone": "tiny"},
        },
        sampling={"rule": "center", "num_segments": 4},
        input={"resize": 72, "crop": 64},
        categories=CLASSES,
    )
    save_model(create_trn(**record.build["arguments"]), tmp_path / "trn.safetensors", record)
    recognizer = Recognizer(tmp_path / "trn.safetensors")
    assert recognizer(index_video).frame_indices == [7, 22, 37, 52]
    look = recognizer.look(index_video)
    scores = recognizer.scores_of_each_frame(look)
    still = dataclasses.replace(look, frames=look.frames[1:2].expand(4, -1, -1, -1))
    torch.testing.assert_close(scores[1], recognizer.scores(still))


TEN_CROPS = {"resize": 72, "crop": 64, "num_crops": 10}


def small(tmp_path, num_classes, categories, **changes) -> str:
    """A file with random weights for a small TSN."""
    arguments = {"num_classes": num_classes, "backbone": "tiny", **changes.pop("arguments", {})}
    record = dataclasses.replace(
        get_weights("tsn_efficientnet_lite0.in1k"),
        build={"builder": "create_tsn", "arguments": arguments},
        input={"resize": 72, "crop": 64},
        categories=categories,
        **changes,
    )
    save_model(create_tsn(**arguments), tmp_path / "small.safetensors", record)
    return str(tmp_path / "small.safetensors")


def test_several_tasks_have_their_own_best_classes(index_video, tmp_path):
    path = small(tmp_path, {"verb": 4, "noun": 3}, {"verb": CLASSES[:4], "noun": ("door", "cup", "pan")})
    result = recognize(index_video, path, top_k=2)
    assert [entry.task for entry in result.classes] == ["verb", "verb", "noun", "noun"]
    assert str(result.classes[3]) == f"noun: {result.classes[3].name}"
    assert result.as_dict()["classes"][2]["task"] == "noun"
    whole = recognize(index_video, path, top_k=9).classes
    assert sum(entry.score for entry in whole if entry.task == "verb") == pytest.approx(1)
    recognizer = Recognizer(path)
    alone = recognizer.scores_of_each_frame(recognizer.look(index_video))
    assert {task: scores.shape for task, scores in alone.items()} == {"verb": (8, 4), "noun": (8, 3)}


def test_scores_where_several_classes_can_be_right(index_video, tmp_path):
    recognizer = Recognizer(small(tmp_path, len(CLASSES), CLASSES, multi_label=True))
    look = recognizer.look(index_video)
    with torch.inference_mode():
        logits = recognizer.model(recognizer.viewer.clip(look)[None])[0]
    torch.testing.assert_close(recognizer.scores(look), logits.sigmoid())


def test_differences_of_frames(index_video, tmp_path):
    sampling = {"rule": "center", "num_segments": 3, "frames_per_segment": 6}
    path = small(tmp_path, len(CLASSES), CLASSES, arguments={"frames_per_segment": 5}, sampling=sampling)
    result = recognize(index_video, path)
    assert len(result.frame_indices) == 18
    recognizer = Recognizer(path)
    with pytest.raises(WeightsError, match="reads differences of frames: a frame alone says nothing to it"):
        recognizer.scores_of_each_frame(recognizer.look(index_video))


def test_weights_of_optical_flow_are_refused(index_video):
    with pytest.raises(WeightsError, match=r"tsn_r50_flow\.epic_ek55 reads optical flow, a video file has RGB frames"):
        recognize(index_video, "tsn_r50_flow.epic_ek55")


def crops_by_hand(recognizer, look, number):
    """Scores for one of the ten crops, as a pass of its own."""
    record = recognizer.weights
    clip = record.transform()(look.frames.transpose(0, 1)).unflatten(1, (10, -1))[:, number]
    with torch.inference_mode():
        return recognizer.model(clip[None])[0]


def test_all_views_of_the_published_test_are_averaged(index_video, tmp_path):
    path = small(tmp_path, len(CLASSES), CLASSES, sampling={"rule": "center", "num_segments": 25})
    record = dataclasses.replace(find_weights(path), input=TEN_CROPS)
    recognizer = Recognizer(record, all_views=True)
    look = recognizer.look(index_video)
    assert recognizer.viewer.num_views == 10
    assert look.frame_indices == segment_indices(60, 25).flatten().tolist()
    expected = torch.stack([crops_by_hand(recognizer, look, number) for number in range(10)]).mean(0).softmax(0)
    torch.testing.assert_close(recognizer.scores(look), expected)
    assert not torch.equal(Recognizer(record).scores(look), expected)


def test_all_views_of_a_model_of_relations_are_seen_one_by_one(index_video, tmp_path):
    """mmaction2's TRN: two clips, ten crops, and the mean of scores, not of logits."""
    arguments = {"num_classes": len(CLASSES), "num_segments": 8, "backbone": "tiny"}
    record = dataclasses.replace(
        get_weights("tsn_efficientnet_lite0.in1k"),
        build={"builder": "create_trn", "arguments": arguments},
        input=TEN_CROPS,
        sampling={"rule": "twice", "num_segments": 8},
        categories=CLASSES,
        origin={"converter": "mmaction2"},
    )
    save_model(create_trn(**arguments), tmp_path / "trn.safetensors", record)
    recognizer = Recognizer(tmp_path / "trn.safetensors", all_views=True)
    look = recognizer.look(index_video)
    assert len(look.frame_indices) == 16
    assert recognizer.viewer.num_views == 20
    clips = recognizer.viewer.clip(look).unflatten(1, (20, 8)).transpose(0, 1)
    with torch.inference_mode():
        expected = torch.stack([recognizer.model(clip[None])[0].softmax(0) for clip in clips]).mean(0)
    torch.testing.assert_close(recognizer.scores(look), expected)


def test_all_frames_of_all_views_are_decoded_and_scaled_once(index_video, weights, monkeypatch):
    record = dataclasses.replace(find_weights(weights), sampling={"num_segments": 25}, input=TEN_CROPS)
    decoded, scaled = [], []
    frames_at, resize = SparseVideo.frames_at, views.resize_clip
    monkeypatch.setattr(SparseVideo, "frames_at", lambda *given: decoded.append(given[1]) or frames_at(*given))
    monkeypatch.setattr(views, "resize_clip", lambda *given: scaled.append(given[0].shape[1]) or resize(*given))
    Recognizer(record, all_views=True)(index_video)
    assert [len(indices) for indices in decoded] == scaled == [25]


def test_two_calls_give_one_answer(index_video, weights):
    assert recognize(index_video, weights) == recognize(index_video, weights)


def test_a_video_of_one_frame(tmp_path, weights):
    result = recognize(write_index_video(tmp_path / "one.mp4", 1), weights)
    assert result.frame_indices == [0] * 8


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_was_cut_off_is_refused(tmp_path, weights, share):
    path = write_index_video(tmp_path / "video.mp4", 200, container_options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(VideoDecodeError, match=r"video\.mp4: the file was cut off: \d+% of its declared frames can be"):
        recognize(path, weights)
    assert SparseVideo(path).num_frames > 10


def test_errors_are_of_kinds_to_catch(tmp_path, index_video, weights):
    with pytest.raises(FileNotFoundError, match="no such file"):
        recognize(tmp_path / "gone.mp4", weights)
    with pytest.raises(WeightsError, match="unknown") as caught:
        recognize(index_video, "eco_lite.unifr")
    assert isinstance(caught.value, PvSparseError)
    with pytest.raises(ValueError, match="top_k=0 is not allowed"):
        recognize(index_video, weights, top_k=0)
    with pytest.raises(ValueError, match=r"device='gpu' cannot be used .*: try cpu, or cuda where there is a GPU"):
        recognize(index_video, weights, device="gpu")


def test_failures_fill_the_same_record(weights):
    failure = Recognizer(weights).failure("a.mp4", VideoDecodeError("a.mp4", "it is broken", frame=3))
    assert failure.as_dict() == {
        "path": "a.mp4",
        "error": "a.mp4: frame 3: it is broken",
        "weights": weights,
        "num_frames": None,
        "frame_indices": None,
        "frame_times_seconds": None,
        "classes": None,
    }


@pytest.mark.gpu
def test_a_gpu_recognises_the_same(index_video, weights):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    cpu, gpu = recognize(index_video, weights), recognize(index_video, weights, device="cuda")
    assert [entry.name for entry in gpu.classes] == [entry.name for entry in cpu.classes]
    assert [entry.score for entry in gpu.classes] == pytest.approx([entry.score for entry in cpu.classes], abs=1e-3)


def test_weights_that_were_trained_on_keyframes_look_at_keyframes(index_video, weights, tmp_path):
    record = dataclasses.replace(find_weights(weights), sampling={"num_segments": 5, "snap": "keyframe"})
    save_model(load_model(weights), tmp_path / "mine.safetensors", record)
    assert recognize(index_video, tmp_path / "mine.safetensors").frame_indices == [0, 12, 24, 36, 48]
