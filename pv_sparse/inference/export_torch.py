"""The two formats that torch reads without pv_sparse: `torch.export` (.pt2), and TorchScript (.pt)."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pv_sparse.models.logits import Logits

Network = Callable[[Tensor], dict[str, Tensor]]
BATCH, INPUT, OUTPUT = "batch", "video", "logits"
DESCRIPTION = "pv_sparse.json"  # how the description is called inside a file


class Exported(Protocol):
    """A traced model, in a format: `title` for people, and `versions` of what wrote it."""

    title: str
    versions: dict[str, Any]

    def save(self, path: Path, description: str) -> None:
        """Write one file, or more of its name; the description goes inside. `OSError` where the disk is full."""

    def load(self, path: Path) -> Network:
        """The model of the file, from a video (N, C, T, H, W) to its outputs by name, on the CPU."""


class TorchExport:
    """A `torch.export.ExportedProgram`; `torch.export.load(path).module()` runs it."""

    title = "torch.export"

    def __init__(self, model: nn.Module, video: Tensor, outputs: list[str]):
        self.program = export_program(model, video)
        self.versions: dict[str, Any] = {}

    def save(self, path: Path, description: str) -> None:
        # Not straight to disk: torch's own writer ends the whole process where a disk is full.
        content = io.BytesIO()
        with warnings.catch_warnings():
            # Said of every weight that is channels last; it holds for what is on a GPU.
            warnings.filterwarnings("ignore", "No complete tensor found in the group")
            torch.export.save(self.program, content, extra_files={DESCRIPTION: description})
        path.write_bytes(content.getbuffer())

    def load(self, path: Path) -> Network:
        module = torch.export.load(path).module()
        return lambda video: by_name(module(video))


class TorchScript:
    """A trace by `torch.jit`, for programs that still load TorchScript, which torch deprecates."""

    title = "TorchScript"

    def __init__(self, model: nn.Module, video: Tensor, outputs: list[str]):
        with _without_jit_warnings():
            # Ours is the check; strict would refuse the dict of several tasks.
            self.module = torch.jit.trace(model, video, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        self.versions: dict[str, Any] = {}

    def save(self, path: Path, description: str) -> None:
        content = io.BytesIO()
        with _without_jit_warnings():
            torch.jit.save(self.module, content, _extra_files={DESCRIPTION: description})
        path.write_bytes(content.getbuffer())

    def load(self, path: Path) -> Network:
        with _without_jit_warnings():
            module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        return lambda video: by_name(module(video))


def export_program(model: nn.Module, video: Tensor) -> torch.export.ExportedProgram:
    """The graph of `model` in eval, for batches of any size; `video` has at least 2 in its own."""
    batch = torch.export.Dim(BATCH, min=1)
    program = torch.export.export(model, (video,), dynamic_shapes=({0: batch},), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, and a fifth of a small file
    return program


def by_name(logits: Logits) -> dict[str, Tensor]:
    """The outputs under the names that they have in files: `logits`, or those of the tasks."""
    return dict(logits) if isinstance(logits, dict) else {OUTPUT: logits}


@contextmanager
def _without_jit_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".torch\.jit\.\w+. is (deprecated|not supported)")
        # What it warns of, that shapes become constants, is what the check with other batches is for.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield
