"""Checkpoints are whole or not there, whatever happens while they are written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pv_sparse import PvSparseError
from pv_sparse.recipes.checkpoints import AtomicCheckpointIO, LastAndBest, read_checkpoint

WRITER = """
import sys, torch
from pv_sparse.recipes.checkpoints import AtomicCheckpointIO
for number in range(10**6):
    content = {"number": number, "tensor": torch.full((300_000,), float(number))}
    AtomicCheckpointIO().save_checkpoint(content, sys.argv[1])
    print(number, flush=True)
"""


def write(path: Path, number: int = 0, size: int = 10) -> None:
    AtomicCheckpointIO().save_checkpoint({"loops": {}, "number": number, "tensor": torch.zeros(size)}, path)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    write(tmp_path / "new" / "last.ckpt", 7)
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "new" / "last.ckpt")["number"] == 7
    assert read_checkpoint(tmp_path / "new" / "last.ckpt")["number"] == 7
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_writes_leaves_the_last_whole_one(tmp_path):
    """Between two of its lines, at some point of writing."""
    path = tmp_path / "last.ckpt"
    command = [sys.executable, "-W", "ignore", "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        last = [int(writer.stdout.readline()) for _ in range(5)][-1]
        os.kill(writer.pid, signal.SIGKILL)
    found = AtomicCheckpointIO().load_checkpoint(path)
    assert found["number"] >= last
    assert (found["tensor"] == found["number"]).all()


def test_a_full_disk_is_told_in_one_line_and_the_checkpoint_before_is_kept(small_disk):
    write(small_disk / "last.ckpt", 1)
    words = r"last.ckpt: the checkpoint cannot be written: the disk is full; last.ckpt of before is kept$"
    with pytest.raises(PvSparseError, match=words):
        write(small_disk / "last.ckpt", 2, size=10**6)
    assert read_checkpoint(small_disk / "last.ckpt")["number"] == 1
    assert [path.name for path in small_disk.iterdir()] == ["last.ckpt"]


def test_a_full_disk_without_one_before(small_disk):
    with pytest.raises(PvSparseError, match=r"the disk is full; there is none of before$"):
        write(small_disk / "last.ckpt", 1, size=10**6)


def test_what_is_no_checkpoint(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"words")
    with pytest.raises(PvSparseError, match=r"a.ckpt: it is no checkpoint of pv-sparse train, or it is damaged"):
        read_checkpoint(tmp_path / "a.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "b.ckpt")
    with pytest.raises(PvSparseError, match=r"b.ckpt: it is no checkpoint of pv-sparse train$"):
        read_checkpoint(tmp_path / "b.ckpt")


def test_the_best_one_is_found_again_after_a_kill_between_the_two_files(tmp_path):
    write(tmp_path / "last.ckpt", 5)
    write(tmp_path / "best.ckpt", 3)
    LastAndBest(tmp_path).load_state_dict({"best": [0.5, -1.0], "last_is_best": True, "saved_at": 1})
    assert read_checkpoint(tmp_path / "best.ckpt")["number"] == 5
    write(tmp_path / "last.ckpt", 6)
    LastAndBest(tmp_path).load_state_dict({"best": [0.5, -1.0], "last_is_best": False, "saved_at": 1})
    assert read_checkpoint(tmp_path / "best.ckpt")["number"] == 5


def test_of_equal_figures_the_lower_loss_decides(tmp_path):
    class OneEpoch:
        """As much of a Trainer as is asked."""

        global_step = 1
        is_global_zero = True

        def __init__(self, **figures):
            self.callback_metrics = {f"val/{name}": value for name, value in figures.items()}

        def save_checkpoint(self, path):
            write(path, self.callback_metrics["val/loss"])

    callback = LastAndBest(tmp_path)
    kept = []
    for top1, loss in [(0.5, 3), (0.5, 2), (0.4, 1), (0.5, 4), (0.6, 9)]:
        callback.on_train_epoch_end(OneEpoch(top1=top1, loss=loss), None)
        kept.append(read_checkpoint(tmp_path / "best.ckpt")["number"])
    assert kept == [3, 2, 2, 2, 9]


def test_a_disk_without_links_has_copies(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("no links")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "last.ckpt", 5)
    LastAndBest(tmp_path).load_state_dict({"best": [0.5, -1.0], "last_is_best": True, "saved_at": 1})
    assert read_checkpoint(tmp_path / "best.ckpt")["number"] == 5
