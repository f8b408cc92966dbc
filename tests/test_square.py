"""The generated squares: no frame tells which way one moves, TRN and ECO-Lite learn it, and TSN cannot."""

import pytest
import torch
from square_runs import quiet_lightning

from pv_sparse import SparseVideo
from pv_sparse.recipes.config import compose
from pv_sparse.recipes.square import CLASSES, SIZE, square_videos
from pv_sparse.recipes.training import train

pytestmark = quiet_lightning


def place(frame: torch.Tensor) -> int:
    """The column where the square begins: (3, H, W) uint8."""
    brightness = frame.float().amax(dim=0).mean(dim=0)
    return int(brightness.unfold(0, 16, 1).sum(dim=1).argmax())


def frames_of(path: str) -> torch.Tensor:
    with SparseVideo.from_path(path) as video:
        return video.frames_at(range(video.num_frames))


def test_squares_go_where_their_class_says(tmp_path):
    videos = square_videos(tmp_path, "train", 6)
    assert videos.classes == CLASSES
    for path, info in videos.samples:
        frames = frames_of(path)
        assert frames.shape[1:] == (3, SIZE, SIZE)
        assert 32 <= len(frames) < 64
        first, last = place(frames[0]), place(frames[-1])
        assert (last - first > 40) if CLASSES[info["label"]] == "right" else (first - last > 40)


def test_videos_are_made_once_and_alike_everywhere(tmp_path):
    [(path, _)] = square_videos(tmp_path / "a", "train", 1).samples
    [(again, _)] = square_videos(tmp_path / "b", "train", 1).samples
    [(other, _)] = square_videos(tmp_path / "b", "train", 1, seed=1).samples
    assert torch.equal(frames_of(path), frames_of(again))
    assert frames_of(path).shape != frames_of(other).shape or not torch.equal(frames_of(path), frames_of(other))
    before = (tmp_path / "a" / "train" / "left" / "0_0000.mp4").stat().st_mtime_ns
    square_videos(tmp_path / "a", "train", 1)
    assert (tmp_path / "a" / "train" / "left" / "0_0000.mp4").stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("squares")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "least", "most"),
    [("square_trn", 0.95, 1.0), ("square_eco_lite", 0.95, 1.0), ("square_tsn", 0.35, 0.65)],
)
def test_order_is_learned_by_what_sees_it(data, tmp_path, experiment, least, most):
    """One command each, half as long as they are."""
    overrides = [f"experiment={experiment}", f"data.root={data}", f"out={tmp_path}", "trainer.max_epochs=3"]
    figures = train(compose("train", [*overrides, "trainer.accelerator=cpu"]).config)
    assert least <= figures["top1"] <= most
