"""The tests of the seam once more, with the host's git master in the place of the installed release.

Both call themselves 0.1.5, and differ in what they hand to samplers, handlers and videos. PV_SPARSE_PYTORCHVIDEO names
the folder that holds master's `pytorchvideo/`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = os.environ.get("PV_SPARSE_PYTORCHVIDEO", "")
# Set in the process that runs the tests on master: it then holds the test of which host is imported, and no others.
INSIDE = "PV_SPARSE_TESTS_ON_MASTER"
SUITES = ["test_clip_sampling.py", "test_demands.py", "test_factories.py", "test_frame_datasets.py", "test_plugin.py"]
HERE = Path(__file__).parent

needs_master = pytest.mark.skipif(
    not FOLDER, reason="needs a checkout of pytorchvideo's master (PV_SPARSE_PYTORCHVIDEO names its folder)"
)


@needs_master
@pytest.mark.skipif(INSIDE in os.environ, reason="runs on master already")
@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_the_seam_holds_on_master(suite):
    environment = {**os.environ, INSIDE: "1", "PYTHONPATH": os.pathsep.join([FOLDER, str(HERE.parent)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", __file__, str(HERE / suite)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=HERE.parent, timeout=600
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@needs_master
@pytest.mark.skipif(INSIDE not in os.environ, reason="is for the process that runs the tests on master")
def test_the_host_is_master_in_this_process():
    import pytorchvideo
    from pytorchvideo.data import LabeledVideoDataset

    assert Path(pytorchvideo.__file__).is_relative_to(Path(FOLDER).resolve())
    assert "decode_video" in LabeledVideoDataset.__init__.__annotations__
