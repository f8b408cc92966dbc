"""`pv-sparse evaluate`: the figures it prints, the files it leaves, and what it refuses."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from index_video import write_index_video

from pv_sparse import PvSparseError, WeightsError, create_trn, create_tsn, get_weights, save_model
from pv_sparse.evaluate_command import run
from pv_sparse.recipes.fusing import fuse
from pv_sparse.recipes.scores import Scores

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.* is deprecated"),
]
CLASSES = ("left", "right")
HERE = ["num_workers=0", "accelerator=cpu"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder of folders of videos; one of the five is no video."""
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        for number in range(4):
            place = folder / split / CLASSES[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            write_index_video(place / f"{number}.mp4", num_frames=10 + 7 * number, size=(48, 64))
    (folder / "val" / "left" / "broken.mp4").write_bytes(b"not a video")
    return folder


def write(path: Path, model, builder: str, segments: int, categories=CLASSES, **arguments) -> str:
    record = replace(
        get_weights("tsn_efficientnet_lite0.in1k"),
        build={"builder": builder, "arguments": {"num_classes": len(categories), "backbone": "tiny", **arguments}},
        sampling={"rule": "center", "num_segments": segments},
        input={"resize": 36, "crop": 32},
        categories=categories,
    )
    save_model(model, path, record)
    return str(path)


@pytest.fixture(scope="module")
def tsn(tmp_path_factory) -> str:
    torch.manual_seed(0)
    model = create_tsn(num_classes=2, backbone="tiny")
    torch.nn.init.normal_(model.head.fc.weight)
    return write(tmp_path_factory.mktemp("weights") / "two stream.safetensors", model, "create_tsn", 3)


@pytest.fixture(scope="module")
def trn(tmp_path_factory) -> str:
    torch.manual_seed(0)
    model = create_trn(num_classes=2, backbone="tiny", num_segments=4)
    return write(tmp_path_factory.mktemp("weights") / "trn.safetensors", model, "create_trn", 4, num_segments=4)


def evaluated(*overrides: str, capsys=None) -> str:
    run([*HERE, *overrides])
    return capsys.readouterr().out if capsys else ""


# What it does


def test_it_prints_percent_and_names_the_failed(root, tsn, tmp_path, capsys):
    out = tmp_path / "out"
    run([*HERE, f"weights='{tsn}'", "data=folder", f"data.root={root}", "protocol=one_view", f"out={out}"])
    printed = capsys.readouterr()
    metrics = json.loads((out / "metrics.json").read_text())
    assert f"{tsn}, one_view (3 segments, 1 view), 4 videos, 1 failed" in printed.out
    assert f"top-1 {100 * metrics['top1']:.2f}  top-5 100.00  mean class" in printed.out
    assert "broken.mp4: it is not a video" in printed.err
    names = ["config.yaml", "metrics.json", "results.jsonl", "scores.npz"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert "name: one_view" in (out / "config.yaml").read_text()


def test_a_folder_of_classes_needs_no_splits(root, tsn, tmp_path):
    evaluated(f"weights='{tsn}'", f"videos={root / 'train'}", f"out={tmp_path}", "protocol=tsn_25x10")
    scores = Scores.read(tmp_path / "scores.npz")
    assert scores.tasks[""].logits.shape == (10, 4, 2)
    assert scores.tasks[""].labels.tolist() == [0, 0, 1, 1]


def test_a_protocol_can_be_changed_in_parts(root, trn, tmp_path):
    given = ["protocol=three_crops_twice", "protocol.size=32", "protocol.resize=40", "average=logits"]
    evaluated(f"weights={trn}", f"videos={root / 'train'}", f"out={tmp_path}", *given)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["protocol"]["num_views"] == 6
    assert (metrics["protocol"]["size"], metrics["protocol"]["resize"]) == (32, 40)
    assert metrics["average"] == "logits"


def test_several_weights_are_evaluated_and_their_scores_averaged(root, tsn, trn, tmp_path, capsys):
    printed = evaluated(f"weights=['{tsn}',{trn}]", f"videos={root / 'val'}", f"out={tmp_path}", capsys=capsys)
    parts = [tmp_path / "1_two_stream", tmp_path / "2_trn"]
    own = [Scores.read(part / "scores.npz").tasks[""].scores for part in parts]
    fused = Scores.read(tmp_path / "scores.npz")
    np.testing.assert_allclose(fused.tasks[""].scores, (own[0] + own[1]) / 2, rtol=1e-5)
    assert [path.rpartition("/")[2] for path in fused.failed] == ["broken.mp4"]
    assert printed.count("top-1") == 3
    assert json.loads((tmp_path / "metrics.json").read_text())["fuse"] == "scores"


def test_score_files_alone_are_fused_with_weights(root, tsn, trn, tmp_path, capsys):
    for name, weights in (("rgb", tsn), ("flow", trn)):
        evaluated(f"weights='{weights}'", f"videos={root / 'val'}", f"out={tmp_path / name}")
    files = [tmp_path / name / "scores.npz" for name in ("rgb", "flow")]
    capsys.readouterr()
    run([f"scores=[{files[0]},{files[1]}]", "fusion_weights=[1,1.5]", f"out={tmp_path / 'both'}"])
    got, expected = Scores.read(tmp_path / "both" / "scores.npz"), fuse(files, [1, 1.5], "logits")
    np.testing.assert_array_equal(got.tasks[""].scores, expected.tasks[""].scores)
    assert "1.5 x" in capsys.readouterr().out
    about = json.loads((tmp_path / "both" / "metrics.json").read_text())
    assert about["fused"] == [str(file) for file in files]
    assert about["fusion_weights"] == [1, 1.5]
    assert (tmp_path / "both" / "config.yaml").exists()


def test_the_batches_can_be_named_as_in_training(root, tsn, tmp_path):
    evaluated(f"weights='{tsn}'", "data=folder", f"data.root={root}", "data.batch_size=5", f"out={tmp_path}")
    assert "batch_size: 5" in (tmp_path / "config.yaml").read_text()


def test_generated_data_is_made(tsn, tmp_path):
    given = ["data=square", f"data.root={tmp_path / 'data'}", "data.val.num_videos=2"]
    evaluated(f"weights='{tsn}'", *given, f"out={tmp_path / 'out'}")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["num_videos"] == 2


@pytest.mark.slow
def test_torchrun_gives_the_numbers_of_one_process(root, tsn, trn, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pv_sparse.evaluate_command import run\nif __name__ == '__main__':\n    run(sys.argv[1:])\n"
    )
    given = [*HERE, f"weights=['{tsn}',{trn}]", f"videos={root / 'val'}", "batch_size=1"]
    run([*given, f"out={tmp_path / 'one'}"])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    two = ["devices=2", "strategy=ddp", f"out={tmp_path / 'two'}"]
    subprocess.run([*launch, *given, *two], check=True, capture_output=True, timeout=300)
    for name in ("scores.npz", "results.jsonl", "1_two_stream/scores.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


# What it refuses, before a video is opened


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "give weights=NAME_OR_PATH to evaluate, or scores="),
        (["weights=x", "scores=[a,b]"], "give weights=NAME_OR_PATH to evaluate, or scores="),
        (["weights=tsn_r50.mm_k400_1x1x8"], "give the videos: data=folder data.root=DIR, or videos="),
        (["weights=x", "protocol=tsn_10x25"], "protocol=tsn_10x25 is unknown: choose one of dense_10"),
        (["weights=x", "wieghts=y"], "wieghts is no setting: did you mean weights"),
        (["weights=x", "data=folder"], "data.root must be given"),
        (["scores=[a/scores.npz,b/scores.npz]"], "a/scores.npz"),
    ],
)
def test_mistakes_in_the_command_are_one_line(overrides, told, tmp_path):
    with pytest.raises((PvSparseError, OSError), match=told) as error:
        run([*overrides, f"out={tmp_path}"])
    assert "\n" not in str(error.value)


def test_out_must_be_given():
    with pytest.raises(PvSparseError, match="out must be given"):
        run(["weights=x"])


def test_unknown_weights_are_told(root, tmp_path):
    with pytest.raises(WeightsError, match="weights 'tsn_r5' are unknown"):
        evaluated("weights=tsn_r5", f"videos={root / 'val'}", f"out={tmp_path}")


def test_data_of_other_classes_is_told(root, tmp_path):
    other = write(
        tmp_path / "three.safetensors", create_tsn(num_classes=3, backbone="tiny"), "create_tsn", 3, ("a", "b", "c")
    )
    with pytest.raises(WeightsError, match="2 of the 2 classes of the data are not among the 3"):
        evaluated(f"weights={other}", f"videos={root / 'val'}", f"out={tmp_path}")


def test_a_trn_is_not_tested_on_25_segments(root, trn, tmp_path):
    with pytest.raises(WeightsError, match=r"takes 25 segments, and .*trn\.safetensors is a TRN of exactly 4"):
        evaluated(f"weights={trn}", f"videos={root / 'val'}", "protocol=tsn_25x10", f"out={tmp_path}")


def test_weights_that_cannot_be_fused_are_told_before_the_work(root, tsn, tmp_path):
    other = write(
        tmp_path / "three.safetensors", create_tsn(num_classes=3, backbone="tiny"), "create_tsn", 3, (*CLASSES, "up")
    )
    with pytest.raises(PvSparseError, match=r"has other classes than .*: they cannot be fused"):
        evaluated(f"weights=['{tsn}',{other}]", f"videos={root / 'val'}", f"out={tmp_path / 'out'}")
    with pytest.raises(PvSparseError, match=r"fusion_weights=\[1, 2\] do not fit 1 weights"):
        evaluated(f"weights='{tsn}'", f"videos={root / 'val'}", "fusion_weights=[1,2]", f"out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("fuse=foo", "fuse=foo is unknown: choose one of scores, logits"),
        ("fusion_weights=[1,-1]", r"fusion_weights=\[1, -1\] do not fit 2 weights: give a number above 0 for each"),
        ("fusion_weights=[1,a]", r"fusion_weights=\[1, 'a'\] do not fit 2 weights"),
        ("fusion_weights=[1,nan]", "do not fit 2 weights"),
        ("fusion_weights=1", "fusion_weights=1 do not fit 2 weights"),
        ("fusion_weights=[1,2,3]", "do not fit 2 weights"),
    ],
)
def test_a_fusion_that_cannot_be_is_told_before_the_work(root, tsn, trn, tmp_path, wrong, told):
    with pytest.raises(PvSparseError, match=told):
        evaluated(f"weights=['{tsn}',{trn}]", f"videos={root / 'val'}", wrong, f"out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


def test_score_files_are_not_read_for_a_fusion_that_cannot_be(tmp_path):
    with pytest.raises(PvSparseError, match="fusion_weights=1 do not fit 2 score files"):
        run(["scores=[a,b]", "fusion_weights=1", f"out={tmp_path}"])


def test_every_folder_is_looked_at_before_the_work(root, tsn, trn, tmp_path):
    given = [f"weights=['{tsn}',{trn}]", f"videos={root / 'val'}"]
    (tmp_path / "2_trn").mkdir()
    (tmp_path / "2_trn" / "scores.npz").write_text("precious")
    with pytest.raises(PvSparseError, match=r"out=\S+2_trn holds another evaluation"):
        evaluated(*given, f"out={tmp_path}")
    assert not any((tmp_path / "1_two_stream").iterdir())
    with pytest.raises(PvSparseError, match=r"out=\S+scores\.npz/sub cannot be written to"):
        evaluated(*given, f"out={tmp_path / '2_trn' / 'scores.npz' / 'sub'}")


def test_classes_in_a_given_order_are_those_of_the_names(root, tsn, tmp_path):
    given = [f"weights='{tsn}'", "data=folder", f"data.root={root}"]
    evaluated(*given, "data.classes=[right,left]", f"out={tmp_path / 'out'}")
    assert Scores.read(tmp_path / "out" / "scores.npz").tasks[""].labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(PvSparseError, match="not among the 2 classes given"):
        evaluated(*given, "data.classes=[a,b]", f"out={tmp_path / 'other'}")


def test_a_difference_of_names_is_told_once(root, tmp_path, caplog):
    model = create_tsn(num_classes=2, backbone="tiny")
    other = write(tmp_path / "two.safetensors", model, "create_tsn", 3, ("left", "to the right"))
    evaluated(f"weights={other}", f"videos={root / 'val'}", f"out={tmp_path / 'out'}")
    assert [entry.getMessage() for entry in caplog.records if "classes go by their numbers" in entry.getMessage()] == [
        f"1 of the 2 classes of the data are not among the 2 of {other}, such as 'right': classes go by their numbers"
    ]


def test_an_evaluation_is_not_overwritten(root, tsn, tmp_path):
    (tmp_path / "scores.npz").write_text("precious")
    with pytest.raises(PvSparseError, match="holds another evaluation"):
        evaluated(f"weights='{tsn}'", f"videos={root / 'val'}", f"out={tmp_path}")
