"""What the web page keeps of a stream, and what it sends to whom; without a server."""

import base64
import dataclasses
import io
import json

import pytest
import torch
from page_stream import frame, record
from PIL import Image

from pv_sparse.recognition import ClassScore
from pv_sparse.watch import page_board, page_pictures
from pv_sparse.watch.page_board import Board
from pv_sparse.watch.page_pictures import Pictures
from pv_sparse.watch.page_updates import Viewer


@pytest.fixture
def made(monkeypatch) -> list[torch.Size]:
    """The shapes of the pictures that were made into JPEGs."""
    shapes = []
    jpeg = page_pictures.jpeg

    def counted(picture, *size):
        shapes.append(picture.shape)
        return jpeg(picture, *size)

    monkeypatch.setattr(page_pictures, "jpeg", counted)
    return shapes


def picture_of(jpeg: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(jpeg)))


def test_the_frames_of_the_newest_answer_are_kept_as_long_as_it_names_them():
    board = Board()
    for number in range(300):
        board.saw(frame(number))
        board.answered(record(sorted({0, max(0, number - 1), number})))
    assert list(board.now.memory) == [0, 298, 299]
    assert torch.equal(board.now.memory[298], frame(298).picture)


def test_without_an_answer_only_the_newest_frames_are_kept():
    board = Board()
    for number in range(1000):
        board.saw(frame(number))
    board.answered(record([0, 1000 - page_board.MOST_OTHERS - 1, 1000 - page_board.MOST_OTHERS, 999]))
    assert list(board.now.memory) == [1000 - page_board.MOST_OTHERS, 999]


def test_a_large_frame_is_kept_small():
    board = Board()
    board.saw(frame(0, height=1080, width=1920))
    board.answered(record([0]))
    small = board.now.memory[0]
    assert small.shape == (3, 180, 320)
    assert small.untyped_storage().nbytes() == small.numel()  # no view, which would keep the whole frame


def test_only_the_last_messages_are_kept():
    board = Board()
    for number in range(100):
        board.told(f"message {number}")
    messages = board.now.as_dict()["messages"]
    assert [entry["text"] for entry in messages] == [f"message {n}" for n in range(100 - page_board.MOST_MESSAGES, 100)]


def test_what_is_no_number_is_null():
    board = Board()
    board.saw(dataclasses.replace(frame(0), time_seconds=float("nan")))
    board.answered(record([0], {"walk": float("nan")}, latency_seconds=float("inf")))
    state = json.loads(json.dumps(board.now.as_dict(), allow_nan=False))
    assert state["record"]["classes"] == [{"index": 0, "name": "walk", "score": None}]
    assert state["record"]["latency_seconds"] is None
    assert state["frame"] == {"number": 0, "time_seconds": None}


def test_a_viewer_is_sent_each_thumbnail_once(made):
    board, pictures = Board(), Pictures(lambda: 0.0)  # the first picture stays
    viewer = Viewer(pictures)
    sent = []
    for number in range(6):
        board.saw(frame(number))
        board.answered(record(range(max(0, number - 2), number + 1)))
        sent += viewer.news(board.now)["thumbnails"]
        assert viewer.news(board.now) is None
    assert sent == [0, 1, 2, 3, 4, 5]
    made.clear()
    assert list(Viewer(pictures).news(board.now)["thumbnails"]) == [3, 4, 5]  # to another at once, and none made again
    assert made == []


def test_thumbnails_are_small_pictures_of_their_frames():
    board = Board()
    board.saw(frame(3, height=240, width=320))
    board.answered(record([3]))
    thumbnail = picture_of(Viewer(Pictures()).news(board.now)["thumbnails"][3])
    assert thumbnail.size == (160, 120)
    assert thumbnail.getpixel((80, 60)) == pytest.approx(tuple(frame(3).picture[:, 0, 0].tolist()), abs=4)


def test_pictures_are_made_at_a_fixed_rate_for_all_viewers_together(made):
    seconds = 0.0
    board, pictures = Board(), Pictures(lambda: seconds)
    viewers = [Viewer(pictures) for _ in range(3)]
    for number in range(240):  # of four seconds
        seconds = number / 60
        board.saw(frame(number))
        for viewer in viewers:
            viewer.news(board.now)
    assert len(made) == pytest.approx(4 * page_pictures.PICTURES_A_SECOND, abs=1)


def test_the_last_frame_is_always_shown():
    board, pictures = Board(), Pictures(lambda: 0.0)
    viewer = Viewer(pictures)
    board.saw(frame(0))
    assert viewer.news(board.now)["picture"]["number"] == 0
    board.saw(frame(1))
    assert viewer.news(board.now)["picture"] is None
    board.close()
    assert viewer.news(board.now)["picture"]["number"] == 1


def test_a_viewer_that_comes_is_sent_the_time_of_the_picture_that_another_had_made(made):
    board, pictures = Board(), Pictures(lambda: 0.0)
    first, second = Viewer(pictures), Viewer(pictures)
    board.saw(frame(0))
    sent = first.news(board.now)["picture"]
    board.saw(frame(8))
    news = second.news(board.now)
    assert news["frame"] == {"number": 8, "time_seconds": 1.0}
    assert news["picture"] == sent
    assert (sent["number"], sent["time_seconds"]) == (0, 0.0)
    assert len(made) == 1


def test_a_large_picture_is_sent_small():
    board = Board()
    board.saw(frame(0, height=1080, width=1920))
    assert picture_of(Viewer(Pictures()).news(board.now)["picture"]["jpeg"]).size == (640, 360)


def test_before_the_first_frame_the_page_waits():
    assert Board().now.as_dict() == {
        "state": "waiting",
        "source": None,
        "weights": None,
        "frame": None,
        "record": None,
        "messages": [],
    }


def test_the_source_and_the_weights_are_known_from_the_start_until_an_answer_names_them():
    board = Board("camera 1", "tsn")
    board.saw(frame(0))
    assert (board.now.source, board.now.weights) == ("camera 1", "tsn")
    board.answered(record([0]))
    state = board.now.as_dict()
    assert (state["source"], state["weights"]) == ("camera 0", "tsn_tiny.made_up")


def test_the_tasks_of_a_model_stay_apart():
    board = Board()
    scores = [ClassScore(0, "take", 0.5, "verb"), ClassScore(4, "cup", 0.25, "noun")]
    board.answered(dataclasses.replace(record([0]), classes=scores))
    assert [entry["task"] for entry in board.now.as_dict()["record"]["classes"]] == ["verb", "noun"]
