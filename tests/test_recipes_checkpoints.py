"""Checkpoints are whole or not there, whatever happens while they are written."""

import os
import shutil
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
    writer = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    last = [int(writer.stdout.readline()) for _ in range(5)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    found = AtomicCheckpointIO().load_checkpoint(path)
    assert found["number"] >= last
    assert (found["tensor"] == found["number"]).all()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", place], check=True)


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
    LastAndBest(tmp_path).load_state_dict({"best": 0.5, "last_is_best": True})
    assert read_checkpoint(tmp_path / "best.ckpt")["number"] == 5
    write(tmp_path / "last.ckpt", 6)
    LastAndBest(tmp_path).load_state_dict({"best": 0.5, "last_is_best": False})
    assert read_checkpoint(tmp_path / "best.ckpt")["number"] == 5


def test_a_disk_without_links_has_copies(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("no links")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "last.ckpt", 5)
    LastAndBest(tmp_path).load_state_dict({"best": 0.5, "last_is_best": True})
    assert read_checkpoint(tmp_path / "best.ckpt")["number"] == 5
