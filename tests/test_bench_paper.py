"""The table of ECO's paper, measured again."""

import pytest
import torch
from torch import nn

from pv_sparse import create_eco, create_eco_lite
from pv_sparse.bench.paper import PaperRow, Side, geometric_mean, measure_paper, paper_networks, paper_table
from pv_sparse.bench.published import PUBLISHED, published, unchecked
from pv_sparse.inference import Optimization
from pv_sparse.models.segment_net import SegmentNet


def side(milliseconds: float, peak: float | None = None) -> Side:
    return Side(1e3 / milliseconds, 8e3 / milliseconds, milliseconds, 2 * milliseconds, 3 * milliseconds, 5, 1, peak)


def test_published_figures_say_which_could_not_be_checked():
    assert len(PUBLISHED) == 8
    assert published("ECO", 16) == {"Titan X": 24.5, "Tesla P100": 41.7}
    assert published("ECO", 12) == {}
    assert unchecked("ECO-Lite", 4) == ("Tesla P100",)
    assert unchecked("ECO-Lite", 8) == ("Titan X", "Tesla P100")
    for (network, frames), (_, p100) in PUBLISHED.items():  # what others quote, in frames a second
        assert frames * p100 == pytest.approx({"ECO": 675, "ECO-Lite": 970}[network], rel=0.05)


def test_the_table_of_the_paper():
    rows = [
        PaperRow("ECO-Lite", 16, 1, side(20.0), side(10.0), published("ECO-Lite", 16), unchecked("ECO-Lite", 16)),
        PaperRow("ECO-Lite", 20, 1, side(40.0), side(5.0), {}, ()),
    ]
    header, known, unknown = paper_table(rows)
    assert header.endswith("  Tesla P100")
    assert "GPU MiB" not in header
    plain_and_optimized = ["50.0", "100", "20.0", "10.0", "60.0", "30.0"]
    assert known.split() == ["ECO-Lite", "16", *plain_and_optimized, "2.00", "2.00", "5", "35.3", "61.0?"]
    assert unknown.split()[-3:] == ["5", "-", "-"]
    assert geometric_mean(row.speed_up for row in rows) == pytest.approx(4)
    on_gpu = [PaperRow("ECO", 4, 1, side(2.0, 300.0), side(1.0, 200.0), {}, ())]
    assert "GPU MiB" in paper_table(on_gpu)[0]
    assert "by CPU" not in paper_table(on_gpu)[0]


@pytest.mark.slow
def test_the_networks_of_the_paper_are_those():
    networks = paper_networks()
    assert set(networks) == {name for name, _ in PUBLISHED}
    with torch.device("meta"):
        built = {name: build() for name, build in networks.items()}
    counts = {name: sum(p.numel() for p in model.parameters()) / 1e6 for name, model in built.items()}
    assert counts == {"ECO": pytest.approx(47.5, abs=0.1), "ECO-Lite": pytest.approx(37.5, abs=0.1)}
    assert all(isinstance(model, SegmentNet) for model in built.values())


def small_networks():
    arguments = {"num_classes": 5, "backbone": "tiny", "width": 0.25}
    return {"ECO": lambda: create_eco(**arguments), "ECO-Lite": lambda: create_eco_lite(**arguments)}


def measured(networks, **changes) -> tuple[list[PaperRow], dict[str, Optimization]]:
    arguments = {"frames": (4, 8), "size": 64, "rounds": 4, "budget_seconds": 0.0}
    return measure_paper(networks, **arguments | changes)


@pytest.mark.slow
def test_the_paper_is_measured_again():
    heard = []
    rows, done = measured(small_networks(), batch_size=2, tell=heard.append)
    assert [(row.network, row.frames) for row in rows] == [("ECO", 4), ("ECO", 8), ("ECO-Lite", 4), ("ECO-Lite", 8)]
    assert heard == [f"{name}: {what}" for name in small_networks() for what in ("optimize", "4 frames", "8 frames")]
    for row in rows:
        for own in (row.plain, row.optimized):
            assert (own.rounds, own.warm_ups, own.peak_memory_mib) == (3, 1, None)
            assert 0 < own.p50_ms <= own.p99_ms
            assert own.frames_per_second == pytest.approx(row.frames * own.videos_per_second)
        assert row.published == published(row.network, row.frames)
    assert all("batch norm" in str(record) for record in done.values())


def test_the_paper_compares_the_logits_on_its_shortest_videos(monkeypatch):
    class Model(nn.Module):
        optimization = "nothing was done"

        def forward(self, video):
            return video.mean()

    def optimize(model, precision, compiled, videos):
        checked.append((precision, compiled, videos.shape))
        return model

    checked = []
    monkeypatch.setattr("pv_sparse.bench.paper.optimize", optimize)
    rows, _ = measured({"a": Model, "b": Model}, frames=(8, 4), size=8, batch_size=2, precision="bfloat16")
    assert checked == [("bfloat16", False, (2, 3, 4, 8, 8))] * 2
    assert [(row.network, row.frames) for row in rows] == [("a", 8), ("a", 4), ("b", 8), ("b", 4)]


def test_both_sides_see_the_same_videos_in_eval_mode(monkeypatch):
    class Seen(nn.Module):
        optimization = "nothing was done"

        def forward(self, video):
            videos.append((self.training, video))
            return video.mean()

    videos = []
    monkeypatch.setattr("pv_sparse.bench.paper.optimize", lambda model, *_: model)
    rows, done = measured({"other": Seen}, frames=(4,), size=8, batch_size=2)
    assert {video.shape for _, video in videos} == {(2, 3, 4, 8, 8)}
    assert not any(training for training, _ in videos)
    assert all(video is videos[0][1] for _, video in videos)
    assert rows[0].published == {}
    assert done == {"other": "nothing was done"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_says_how_much_memory_it_took():
    rows, _ = measured(small_networks(), device="cuda", precision="float16")
    assert all(own.peak_memory_mib > 0 and own.warm_ups == 3 for row in rows for own in (row.plain, row.optimized))
    assert "GPU MiB" in paper_table(rows)[0]
