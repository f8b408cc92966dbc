"""What is installed, what of the host is broken or repaired, what can be used: `pv-sparse doctor`."""

import importlib
import os
import platform
import re
import sys
import warnings
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.util import find_spec
from pathlib import Path

import pv_sparse
from pv_sparse import compat

CORE = ("torch", "torchvision", "pytorchvideo", "fvcore", "iopath", "av", "numpy", "safetensors", "PyYAML", "click")


def doctor() -> list[str]:
    """The findings, one line each, for people."""
    lines = [f"pv_sparse {pv_sparse.__version__}, Python {platform.python_version()}, {platform.platform()}"]
    return [*lines, *_packages(), "", *_host(), "", *_machine(), "", *_extras(), "", *_places()]


def _packages() -> list[str]:
    return [f"  {name:12} {_version(name) or 'MISSING'}" for name in CORE]


def _host() -> list[str]:
    return [
        "PyTorchVideo",
        f"  pytorchvideo.transforms: {_transforms_state()}",
        f"  pytorchvideo.models: {_import_state('pytorchvideo.models')}",
        f"  pytorchvideo.data: {_import_state('pytorchvideo.data')}",
        f'  decoder="pyav": {_import_state("pytorchvideo.data.encoded_video_pyav")}',
        f'  decoder="torchvision": {_torchvision_decoder_state()}',
        f'  decoder="decord": {"installed" if find_spec("decord") else "decord is not installed"}',
        f"  FrameVideo (folders of images): {'works' if find_spec('cv2') else 'needs cv2, which is not installed'}",
        "  our decoder: works everywhere a data set takes video_path_handler = SparseVideoPathHandler()",
    ]


def _transforms_state() -> str:
    state = _import_state("pytorchvideo.transforms")
    if state != "works":
        hint = f" ({compat.SWITCH} is set: unset it)" if not compat.is_repairing() else ""
        return state + hint
    is_repaired = compat.needs_repair() and "functional_tensor" in _source_of_augmentations()
    return "broken by today's torchvision, repaired by pv_sparse" if is_repaired else "works, nothing to repair"


def _source_of_augmentations() -> str:
    spec = find_spec("pytorchvideo.transforms.augmentations")
    return Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""


def _torchvision_decoder_state() -> str:
    import torch
    import torchvision  # noqa: F401  # registers its operators

    has_reader = hasattr(torch.ops.video_reader, "read_video_from_memory")
    return "works" if has_reader else "broken: torchvision dropped its video reader"


def _import_state(name: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    except Exception as error:
        return f"BROKEN: {type(error).__name__}: {error}"
    return "works"


def _machine() -> list[str]:
    import av
    import torch

    ffmpeg = ".".join(map(str, av.library_versions["libavcodec"]))
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [
        "Machine",
        f"  decoder: PyAV {av.__version__}, libavcodec {ffmpeg}",
        f"  GPU: {', '.join(gpus) or 'none that torch can use'}",
        f"  CPU: {os.cpu_count()} cores, {torch.get_num_threads()} threads for torch",
    ]


def _extras() -> list[str]:
    """From the metadata of the installation, which a bare checkout does not have."""
    try:
        declared = metadata("pv-sparse")
    except PackageNotFoundError:
        return ["Extras: pv_sparse is not installed, only importable: pip install -e . tells them"]
    lines = ["Extras"]
    requirements = declared.get_all("Requires-Dist") or []
    for extra in declared.get_all("Provides-Extra") or []:
        of_extra = [text for text in requirements if re.search(rf"extra == ['\"]{extra}['\"]", text)]
        needed = [re.split(r"[^\w.-]", text)[0] for text in of_extra]
        missing = [name for name in needed if _version(name) is None]
        lines.append(f"  {extra:8} " + (f"lacks {', '.join(missing)}" if missing else "complete"))
    return lines


def _places() -> list[str]:
    from pv_sparse.resources import resource_dir
    from pv_sparse.zoo import files
    from pv_sparse.zoo.weights import list_weights

    return [
        "Places",
        f"  package: {Path(pv_sparse.__file__).parent}",
        f"  model zoo: {resource_dir('model_zoo')}",
        f"  weights here: {', '.join(list_weights(available=True)) or 'none'}",
        f"  downloads of ours: {files.cache_folder()} ({files.HOME} moves it)",
        f"  downloads of torch: {files.torch_folder()} (TORCH_HOME moves it)",
        f"  mirror of downloads: {os.environ.get(files.MIRROR) or f'none ({files.MIRROR} sets one)'}",
        f"  downloads: {f'forbidden by {files.OFFLINE}' if files.is_offline() else 'allowed'}",
        f"  Python: {sys.executable}",
    ]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
