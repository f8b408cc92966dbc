"""What computed a result: the versions of what computes and decodes, and the machine."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import pv_sparse

PACKAGES = ("torch", "torchvision", "lightning", "pytorchvideo", "av", "numpy", "torchmetrics", "hydra-core")


def versions() -> dict[str, Any]:
    """Of Python, of what computes and decodes, and of the machine; None where there is no such thing."""
    has_gpu = torch.cuda.is_available()
    return {
        "pv_sparse": pv_sparse.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "cuda": torch.version.cuda if has_gpu else None,
        "devices": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "cpu_count": os.cpu_count(),
        "platform": platform.platform(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
