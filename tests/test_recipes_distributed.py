"""Two processes that talk by gloo train as one process with batches of twice the size."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from square_runs import SMALL, tensors

from pv_sparse.recipes.square import square_videos

pytestmark = pytest.mark.slow
# Of each process: no chance in the network, and no batch norm that sees half a batch.
EXACT = ("model.dropout=0", "batch_norm=frozen", "optim=sgd", "optim.lr=0.05", "trainer.max_epochs=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """One of the training videos cannot be read."""
    root = tmp_path_factory.mktemp("square")
    square_videos(root, "val", 4)
    Path(square_videos(root, "train", 12).samples[5][0]).write_bytes(b"no video")
    return root


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def train(data: Path, out: Path, *overrides: str, launcher: tuple[str, ...] = ()) -> Path:
    settings = {setting.partition("=")[0]: setting for setting in (*SMALL, *EXACT, *overrides)}
    command = [sys.executable, "-W", "ignore", *launcher, "-m", "pv_sparse", "train", *settings.values()]
    done = subprocess.run(
        [*command, f"data.root={data}", f"out={out}"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


TWO = ("trainer.devices=2", "trainer.strategy=ddp", "data.batch_size=2")


@pytest.fixture(scope="module")
def one(data, tmp_path_factory) -> Path:
    return train(data, tmp_path_factory.mktemp("one"), "data.batch_size=4", "trainer.devices=1")


def assert_alike(one: Path, two: Path) -> None:
    other = tensors(two)
    for name, tensor in tensors(one).items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    for first, second in zip(history(one), history(two), strict=True):
        assert second == pytest.approx(first, rel=1e-3)


def history(out: Path) -> list[dict[str, float]]:
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: float(row[key]) for key in row if not key.startswith("throughput")} for row in rows]


def test_processes_that_lightning_starts(data, one, tmp_path):
    assert_alike(one, train(data, tmp_path, *TWO))


def test_processes_that_torchrun_starts(data, one, tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}")
    assert_alike(one, train(data, tmp_path, *TWO, launcher=torchrun))


def test_a_job_that_submitit_starts(data, one, tmp_path):
    """On this machine, as `launcher.cluster=local`; two tasks, as SLURM has them, are for a cluster to test."""
    submitit = pytest.importorskip("submitit", reason='needs submitit: pip install "pv-sparse[slurm]"')
    local = ("launcher=slurm", "launcher.cluster=local", "trainer.devices=1", "data.batch_size=4")
    train(data, tmp_path, *local)
    [result] = (tmp_path / "slurm").glob("*_result.pkl")
    job = submitit.Job(tmp_path / "slurm", result.name.partition("_")[0])
    assert 0 <= job.result()["top1"] <= 1
    assert_alike(one, tmp_path)
