"""The repair of the host's imports, each case in a process of its own."""

import os
import subprocess
import sys

import pytest

from pv_sparse import compat

OLD = "torchvision.transforms.functional_tensor"
needs_broken_host = pytest.mark.skipif(
    not compat.needs_repair(), reason="this torchvision still has functional_tensor: there is nothing to repair"
)


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@needs_broken_host
def test_transforms_work_and_others_see_the_true_torchvision():
    code = f"""
import importlib, sys
import pv_sparse
import torch, torchvision
import pytorchvideo.transforms as host
frames = torch.rand(4, 3, 32, 32)
print(host.RandAugment()(frames).shape, host.AugMix()(frames).shape)
print({OLD!r} in sys.modules, hasattr(torchvision.transforms, "functional_tensor"))
print(type(host.__spec__.loader).__name__, type(host.__loader__).__name__)
try:
    importlib.import_module({OLD!r})
except ModuleNotFoundError as error:
    print(error)
"""
    assert run(code).splitlines() == [
        "torch.Size([4, 3, 32, 32]) torch.Size([4, 3, 32, 32])",
        "False False",
        "SourceFileLoader SourceFileLoader",
        f"No module named '{OLD}'",
    ]


@needs_broken_host
@pytest.mark.slow
def test_a_submodule_can_come_first():
    code = "import pv_sparse, pytorchvideo.transforms.augmentations as a; print(a.__name__)"
    assert run(code) == "pytorchvideo.transforms.augmentations"


@needs_broken_host
@pytest.mark.slow
def test_it_works_after_a_first_failure():
    code = """
try:
    import pytorchvideo.transforms
except ModuleNotFoundError as error:
    print(error.name)
import pv_sparse
import pytorchvideo.transforms
"""
    assert run(code) == OLD


@needs_broken_host
def test_a_switch_turns_it_off():
    code = "import pv_sparse.compat as c; print(c.is_repairing())"
    assert run(code) == "True"
    assert run(code, PV_SPARSE_NO_COMPAT="1") == "False"
    assert run(code, PV_SPARSE_NO_COMPAT="0") == "True"


def test_reloading_adds_no_second_finder():
    code = """
import importlib, sys
import pv_sparse
importlib.reload(pv_sparse.compat)
importlib.reload(pv_sparse)
print([type(finder).__name__ for finder in sys.meta_path].count("_TransformsFinder"))
"""
    assert run(code) == "1"


def test_without_the_host_nothing_changes():
    code = """
import sys
import pv_sparse
sys.modules["pytorchvideo"] = None
try:
    import pytorchvideo.transforms
except ModuleNotFoundError as error:
    print("missing")
"""
    assert run(code) == "missing"
