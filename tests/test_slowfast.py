"""PySlowFast's registries, in a stand-in of it with fvcore's own."""

import sys
import types
from types import SimpleNamespace

import pytest
import torch
from fvcore.common.registry import Registry
from index_video import write_index_video
from torch.utils.data import DataLoader

from pv_sparse import PvSparseError, VideoDecodeError, register, registered, segment_indices, unregister
from pv_sparse.slowfast import Ptvsparse, SinglePathway, entries
from pv_sparse.zoo import hub


@pytest.fixture
def slowfast(monkeypatch) -> SimpleNamespace:
    """Modules where PySlowFast has its registries."""
    homes = {"models": Registry("MODEL"), "datasets": Registry("DATASET")}
    package = types.ModuleType("slowfast")
    package.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "slowfast", package)
    for home, registry in homes.items():
        module = types.ModuleType(f"slowfast.{home}.build")
        setattr(module, f"{home[:-1].upper()}_REGISTRY", registry)
        monkeypatch.setitem(sys.modules, f"slowfast.{home}", types.ModuleType(f"slowfast.{home}"))
        monkeypatch.setitem(sys.modules, f"slowfast.{home}.build", module)
    return SimpleNamespace(**homes)


@pytest.fixture
def cfg(tmp_path) -> SimpleNamespace:
    """As much of a configuration as is read, with lists of three videos."""
    lines = [f"{write_index_video(tmp_path / f'{n}.mp4', 20 + 10 * n)} {n}\n" for n in range(3)]
    for mode in ("train", "val", "test"):
        (tmp_path / f"{mode}.csv").write_text("".join(lines))
    return SimpleNamespace(
        MODEL=SimpleNamespace(NUM_CLASSES=5, DROPOUT_RATE=0.3, HEAD_ACT="softmax"),
        DATA=SimpleNamespace(
            PATH_TO_DATA_DIR=str(tmp_path),
            PATH_PREFIX="",
            NUM_FRAMES=4,
            MEAN=[0.45, 0.45, 0.45],
            STD=[0.225, 0.225, 0.225],
            TRAIN_CROP_SIZE=64,
            TEST_CROP_SIZE=72,
            TRAIN_JITTER_SCALES=[72, 80],
            RANDOM_FLIP=False,
            REVERSE_INPUT_CHANNEL=False,
        ),
        TEST=SimpleNamespace(NUM_ENSEMBLE_VIEWS=2, NUM_SPATIAL_CROPS=3),
        AUG=SimpleNamespace(NUM_SAMPLE=1),
        MULTIGRID=SimpleNamespace(SHORT_CYCLE=False, LONG_CYCLE=False),
        RNG_SEED=1,
    )


def test_names_come_and_go_with_the_registration(slowfast):
    with registered(), registered():
        names = dict(slowfast.models)
        assert {"tsn_r50", "tsn_r50.mm_k400_1x1x8", "trn_r50", "eco_lite_16f"} < set(names)
        assert set(hub.__all__) < set(names)
        assert slowfast.datasets.get("Ptvsparse") is Ptvsparse  # PySlowFast capitalizes `ptvsparse`
    assert not dict(slowfast.models)
    assert not dict(slowfast.datasets)


def test_without_slowfast_there_is_nothing_to_do():
    assert entries() == []


def test_a_slowfast_that_does_not_import_is_left_alone(monkeypatch):
    package = types.ModuleType("slowfast")
    package.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "slowfast", package)
    monkeypatch.setitem(sys.modules, "slowfast.models", None)
    assert entries() == []


def test_names_of_others_stay(slowfast):
    def tsn_r50(cfg):
        """Of another plugin."""

    slowfast.models.register(tsn_r50)
    with pytest.raises(PvSparseError, match="PySlowFast's registry has tsn_r50 already, and not from pv_sparse"):
        register()
    assert dict(slowfast.models) == {"tsn_r50": tsn_r50}
    unregister()


@pytest.mark.parametrize(("name", "segments"), [("tsn_r18", 4), ("trn_r50", 4)])
def test_models_are_built_from_the_configuration(slowfast, cfg, name, segments):
    with registered():
        model = slowfast.models.get(name)(cfg)
    assert model.training
    assert model.net.head.dropout.p == 0.3
    clip = torch.randn(1, 3, segments, 64, 64)
    logits = model.eval().net(clip)
    torch.testing.assert_close(model([clip]), logits.softmax(dim=-1))
    assert logits.shape == (1, 5)
    if name.startswith("trn"):
        assert model.net.num_segments == 4


def test_what_a_single_pathway_refuses():
    net = torch.nn.Identity()
    with pytest.raises(ValueError, match=r"2 pathways were given, and one is read: set MODEL\.ARCH to slow"):
        SinglePathway(net)([torch.zeros(1), torch.zeros(1)])
    with pytest.raises(ValueError, match=r"MODEL\.HEAD_ACT='relu' is unknown: choose one of softmax, sigmoid, none"):
        SinglePathway(net, "relu")
    assert SinglePathway(net, "sigmoid").eval()([torch.zeros(1)]) == 0.5


def test_training_draws_a_frame_from_each_segment(cfg):
    dataset = Ptvsparse(cfg, "train")
    assert dataset.num_videos == len(dataset) == 3
    seen = []
    for epoch in range(2):
        dataset._set_epoch_num(epoch)
        clips, labels, numbers, times, meta = next(iter(DataLoader(dataset, batch_size=3)))
        assert [clip.shape for clip in clips] == [(3, 3, 4, 64, 64)]
        assert (labels.tolist(), numbers.tolist(), meta) == ([0, 1, 2], [0, 1, 2], {})
        seen.append(times)
    assert not torch.equal(*seen)
    assert torch.equal((seen[0][0] * 25).long() // 5, torch.arange(4))  # 20 frames


def test_validation_takes_the_middles(cfg):
    _, label, number, times, _ = Ptvsparse(cfg, "val")[2]
    assert (label, number) == (2, 2)
    torch.testing.assert_close(times, segment_indices(40, 4).flatten() / 25.0, check_dtype=False)


def test_a_test_has_every_view_of_every_video(cfg):
    dataset = Ptvsparse(cfg, "test")
    assert len(dataset) == 3 * 2 * 3
    items = [dataset[number] for number in range(6)]
    assert all(clips[0].shape == (3, 4, 72, 72) for clips, *_ in items)
    assert [item[1] for item in items] == [0] * 6
    assert len({tuple(item[3].tolist()) for item in items}) == 2
    left, right, middle = (item[0][0] for item in items[:3])
    assert not torch.equal(left, right)
    assert not torch.equal(left, middle)


def test_channels_are_turned_round_after_normalising(cfg):
    cfg.DATA.MEAN = [0.1, 0.2, 0.3]
    forward = Ptvsparse(cfg, "val")[0][0][0]
    cfg.DATA.REVERSE_INPUT_CHANNEL = True
    torch.testing.assert_close(Ptvsparse(cfg, "val")[0][0][0], forward.flip(0))


def test_broken_files_are_substituted_but_not_in_a_test(cfg, tmp_path):
    (tmp_path / "1.mp4").write_bytes(b"broken")
    assert Ptvsparse(cfg, "train")[1][0][0].shape == (3, 4, 64, 64)
    with pytest.raises(VideoDecodeError, match=r"1\.mp4"):
        Ptvsparse(cfg, "test")[6]


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("MULTIGRID", "SHORT_CYCLE", True), ("AUG", "NUM_SAMPLE", 2), ("TEST", "NUM_SPATIAL_CROPS", 5)],
)
def test_settings_that_are_not_here_are_refused(cfg, section, name, value):
    setattr(getattr(cfg, section), name, value)
    with pytest.raises(ValueError, match=rf"ptvsparse does not know this value of {section}\.{name}"):
        Ptvsparse(cfg, "train")
