"""README does what it says."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import REPOSITORY, demo_video

from pv_sparse.cli import main
from pv_sparse.recipes.config import compose
from pv_sparse.zoo.loading import find_weights

README = (REPOSITORY / "README.md").read_text()
SECTION = README.partition("## Train, from one command")[2].partition("## Evaluate")[0]
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A stranger's folder: a few videos, and nothing of this repository."""
    (tmp_path / "videos").mkdir()
    for name in ("bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4"):
        shutil.copy(demo_video(name), tmp_path / "videos" / name)
    shutil.copy(demo_video("bikes.mp4"), tmp_path / "bikes.mp4")
    return tmp_path


def run_block(folder: Path, block: str) -> str:
    (folder / "block.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "block.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_nine_programs():
    assert len(PYTHON_BLOCKS) == 9


@pytest.fixture
def class_folders(folder) -> Path:
    """videos/<class>/*.mp4"""
    for path in list((folder / "videos").iterdir()):
        place = folder / "videos" / ("street" if path.name == "bikes.mp4" else "others")
        place.mkdir(exist_ok=True)
        path.rename(place / path.name)
    return folder


@pytest.mark.slow
def test_the_hosts_data_set_gives_batches(class_folders):
    shapes = re.findall(
        r"\[(\d), 3, 8, 224, 224\]\) torch.Size\(\[\1, 2\]\)", run_block(class_folders, PYTHON_BLOCKS[0])
    )
    assert sorted(shapes) == ["1", "2"]


@pytest.mark.slow
def test_the_map_style_data_set_gives_batches(class_folders):
    printed = run_block(class_folders, PYTHON_BLOCKS[1])
    assert re.findall(r"(\d) torch.Size\(\[(\d), 3, 8, 224, 224\]\)", printed) == [
        ("0", "2"),
        ("0", "1"),
        ("1", "2"),
        ("1", "1"),
    ]
    assert printed.splitlines()[-1] == "{}"


@pytest.mark.slow
def test_frames_are_chosen(folder):
    frames = ast.literal_eval(run_block(folder, PYTHON_BLOCKS[2]))
    assert len(frames) == 8
    assert frames == sorted(set(frames))


@pytest.mark.slow
def test_training_with_the_parts(class_folders):
    figures = ast.literal_eval(run_block(class_folders, PYTHON_BLOCKS[3]).splitlines()[-1])
    assert figures.keys() == {"top1", "top5", "mean_class_accuracy"}


@pytest.mark.slow
def test_one_video_at_a_time(folder):
    printed = run_block(folder, PYTHON_BLOCKS[4])
    assert "jinrikisha" in printed
    assert "num_frames=250" in printed
    assert "torch.Size([8, 3, 272, 640])" in printed


@pytest.mark.slow
def test_frame_by_frame(folder):
    lines = run_block(folder, PYTHON_BLOCKS[5]).splitlines()
    assert lines[0].startswith("21 [0, 1, 2, 3, 4, 5, 6, 7] ")
    assert len(lines) == 27


@pytest.mark.slow
def test_a_model_made_faster(folder):
    printed = run_block(folder, PYTHON_BLOCKS[6])
    assert "folded" in printed
    assert printed.splitlines()[-1] == "torch.Size([1, 400])"


@pytest.mark.slow
def test_the_models(folder):
    printed = run_block(folder, PYTHON_BLOCKS[7])
    assert "torch.Size([2, 174]) [TupleScore(segments=(" in printed
    assert "{'verb': torch.Size([2, 125]), 'noun': torch.Size([2, 352])}" in printed
    assert "Cost(parameters=37503856, multiply_adds=46581" in printed


@pytest.mark.slow
def test_a_pretrained_model_is_tuned(class_folders):
    """The loss falls; the model comes from the checkout."""
    block = PYTHON_BLOCKS[8].replace("path/to/this/repository", str(REPOSITORY))
    losses = [float(line.split()[1]) for line in run_block(class_folders, block).splitlines()]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert find_weights(class_folders / "mine.safetensors").categories == ("others", "street")


def test_the_commands_exist():
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    commands = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    makefile = (REPOSITORY / "Makefile").read_text()
    for command in commands:
        tool, name = command.split()[:2]
        if tool == "make":
            assert f"\n{name}:" in makefile
        elif tool == "pv-sparse":
            names = re.match(r"pv-sparse ((?:zoo|study make) \w+|\w+)", command)[1].split()
            helped = CliRunner().invoke(main, [*names, "--help"])
            assert helped.exit_code == 0, helped.output
            if name in ("train", "evaluate"):
                compose(name, shlex.split(command)[2:])
        else:
            assert command in [f'pip install -e ".[{extra}]"' for extra in ("demo", "train", "study")]


@pytest.mark.parametrize("cell", re.findall(r"^\| [^|]* \| (`[^|]*=[^|]*) \|$", SECTION, re.MULTILINE))
def test_the_overrides_in_it_exist(cell):
    for overrides in re.findall(r"`([a-z_.]+=[^`]*)`", cell):
        given = "model=eco_lite" if "init=eco" in overrides else "model=tsn_tiny"
        compose("train", ["data.root=there", "out=here", given, *shlex.split(overrides)])


def test_the_names_in_it_exist():
    import pv_sparse

    for name in set(re.findall(r"pvs\.(\w+)", README)):
        assert hasattr(pv_sparse, name), name


def test_the_files_in_it_exist():
    linked = re.findall(r"\]\((?!http)([^)]+)\)", README)
    named = re.findall(r"`((?:pv_sparse|configs|benchmarks)/[^`]*)`", README)
    for target in linked + named:
        assert (REPOSITORY / target).exists(), target
