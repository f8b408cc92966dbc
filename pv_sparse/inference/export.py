"""Models as files for other programs: `torch.export`, ONNX and TorchScript, each checked against the module.

The graph is that of eval, for batches of any size; the number of frames and their size are those of the example.
"""

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pv_sparse.errors import PvSparseError
from pv_sparse.inference.export_description import describe
from pv_sparse.inference.export_onnx import OnnxExport, check_installed
from pv_sparse.inference.export_torch import INPUT, Exported, TorchExport, TorchScript, by_name
from pv_sparse.inference.export_writing import Check, first_line, write
from pv_sparse.models.fusion import LateFusion
from pv_sparse.zoo.weights import Weights

FORMATS: dict[str, type[TorchExport] | type[OnnxExport] | type[TorchScript]] = {
    ".pt2": TorchExport,
    ".onnx": OnnxExport,
    ".pt": TorchScript,
}


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        files: the model's, one or two, and the description's, the last.
        format: `torch.export`, `ONNX` or `TorchScript`.
        largest_difference: between a logit of the file and the module's.
        seconds: it took.
    """

    files: tuple[Path, ...]
    format: str
    largest_difference: float
    seconds: float


def export_model(
    model: nn.Module, path: str | Path, example: Tensor, record: Weights | None = None, tolerance: float = 1e-4
) -> ExportReport:
    """Write a model, and how it is fed, for programs that have no pv_sparse.

    The file is read again and must answer as the module does, for the example and for batches of other sizes. Model and
    description appear whole or not at all. The description, JSON of the same name, stands inside the model's file too,
    as `pv_sparse.json`: in the metadata of ONNX, among the extra files of the others.

    Args:
        model: in eval mode, from one video to logits or a dict of them; it stays as it is. Of a model on another
            device a copy on the CPU is written, and compared with.
        path: of the new file: `.pt2` is `torch.export`, `.onnx` ONNX, `.pt` TorchScript, for programs that still load
            it. Files of this name are replaced, and so is the `.json`.
        example: (N, C, T, H, W) float32, normalised; N may be 1. C, T, H and W are fixed in the file, N is not.
        record: how videos are sampled and preprocessed, and the classes, for the description.
        tolerance: the largest difference of a logit that is allowed, in units of the largest logit where that is
            above 1.

    Raises:
        ValueError: another ending, a model in training mode or of several inputs, an example that the model does not
            take or that is not what the record makes of a video.
        FileNotFoundError, OSError: no such folder; a full disk.
        ModuleNotFoundError: for ONNX, onnx, onnxruntime or onnxscript is not installed.
        PvSparseError: a model that cannot be exported, or whose file answers otherwise.
    """
    began = time.perf_counter()
    path = check_output(path)
    _check(model, example)
    model, example = _on_cpu(model), example.cpu()
    batches, traced_with = _batches(example)
    with torch.no_grad():
        check = Check(batches, [_outputs(model, batch) for batch in batches], tolerance)
        description = describe(model, example, check.expected[0], record)
        exported = _trace(model, traced_with, path, list(check.expected[0]))
        difference, files = write(exported, path, description, check)
    return ExportReport(files, exported.title, difference, time.perf_counter() - began)


def check_output(path: str | Path) -> Path:
    """The path of a file that can be exported to; else the errors of `export_model` that it names."""
    path = Path(path)
    if path.suffix not in FORMATS:
        known = ", ".join(f"{suffix} ({kind.title})" for suffix, kind in FORMATS.items())
        raise ValueError(f"path={str(path)!r} is not allowed: its name must end in one of {known}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.absolute().parent}")
    for file in (path, path.with_suffix(".json")):
        if file.is_dir():
            raise IsADirectoryError(f"{file}: it is a folder, where a file would be written")
    if FORMATS[path.suffix] is OnnxExport:
        check_installed()
    return path


def _check(model: nn.Module, example: Tensor) -> None:
    if isinstance(model, LateFusion):
        raise ValueError("a LateFusion takes several videos, which no exported file does: export its models one by one")
    if any(module.training for module in model.modules()):
        raise ValueError("the model is in training mode, where it answers at random: call model.eval() first")
    if example.ndim != 5 or len(example) == 0 or example.dtype != torch.float32:
        raise ValueError(
            f"an example of shape {tuple(example.shape)} and {example.dtype} was given: give a normalised video "
            "(N, C, T, H, W), torch.float32"
        )


def _on_cpu(model: nn.Module) -> nn.Module:
    devices = {tensor.device.type for tensor in (*model.parameters(), *model.buffers())}
    return model if devices <= {"cpu"} else copy.deepcopy(model).cpu()


def _batches(example: Tensor) -> tuple[list[Tensor], Tensor]:
    """What to check with, the example first, one video and two more than it has; and what to trace with."""
    longer = torch.cat([example, example[:1].flip(2), 0.5 * example[:1]])
    if len(example) == 1:
        return [example, longer], longer[:2]  # torch takes a size of 1 for a constant
    return [example, longer, example[:1]], example


def _outputs(model: nn.Module, video: Tensor) -> dict[str, Tensor]:
    try:
        outputs = by_name(model(video))
    except RuntimeError as error:
        raise PvSparseError(
            f"a {type(model).__name__} cannot read a video of shape {tuple(video.shape)}: {first_line(error)} "
            "(larger frames, or more of them, may do)"
        ) from error
    if INPUT in outputs:
        raise ValueError(f"a task is called {INPUT!r}, as the input is: give it another name")
    if not all(values.isfinite().all() for values in outputs.values()):
        raise PvSparseError("the model's own logits are no finite numbers: there is nothing to compare a file with")
    return outputs


def _trace(model: nn.Module, video: Tensor, path: Path, outputs: list[str]) -> Exported:
    kind = FORMATS[path.suffix]
    try:
        return kind(model, video, outputs)
    except Exception as error:  # of every kind, as deep in torch as it may be
        told = f"a {type(model).__name__} cannot be exported as {kind.title}: {first_line(error)}"
        raise PvSparseError(told) from error
