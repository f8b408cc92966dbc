"""ONNX: the only module that knows onnx, onnxscript and onnxruntime, of the `export` extra."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pv_sparse.inference.export_torch import BATCH, DESCRIPTION, INPUT, Network, export_program

# A protobuf file ends at 2 GiB; the graph beside the weights needs some of it.
LARGEST_SINGLE_FILE = 1_900_000_000


class OnnxExport:
    """An ONNX model, written by `torch.onnx.export`, checked by `onnx.checker`, and run by onnxruntime.

    It is one file; above 1.9 GB of weights these go into a second, OUT.onnx.data, which has to stay beside it.
    """

    title = "ONNX"

    def __init__(self, model: nn.Module, video: Tensor, outputs: list[str]):
        check_installed()
        batch = torch.export.Dim(BATCH, min=1)
        program = torch.onnx.export(
            export_program(model, video),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=outputs,
            dynamic_shapes=({0: batch},),
        )
        if program is None:
            raise RuntimeError("torch.onnx.export gave no model")
        self.program = program
        self.outputs = outputs
        self.is_large = _num_bytes(model) > LARGEST_SINGLE_FILE
        self.versions = self._versions()

    def save(self, path: Path, description: str) -> None:
        self.program.model.metadata_props[DESCRIPTION] = description
        self.program.save(path, external_data=self.is_large)

    def load(self, path: Path) -> Network:
        import onnx
        import onnxruntime

        onnx.checker.check_model(str(path), full_check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors only
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def network(video: Tensor) -> dict[str, Tensor]:
            found = session.run(self.outputs, {INPUT: video.numpy()})
            return {name: torch.from_numpy(values) for name, values in zip(self.outputs, found, strict=True)}

        return network

    def _versions(self) -> dict[str, Any]:
        import onnx
        import onnxruntime
        import onnxscript

        return {
            "opset": self.program.model.opset_imports[""],
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "onnxscript": onnxscript.__version__,
        }


def check_installed() -> None:
    """`ModuleNotFoundError` of the first package that is missing."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401


def _num_bytes(model: nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
