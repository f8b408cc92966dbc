"""An exported ONNX file in onnxruntime and OpenVINO, on one thread; for inference.py."""

from collections.abc import Callable, Iterator
from pathlib import Path

import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor


def onnxruntime_run(path: Path) -> Callable[[Tensor], Tensor]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda video: torch.from_numpy(session.run(None, {name: video.numpy()})[0])


def openvino_run(path: Path) -> Callable[[Tensor], Tensor]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda video: torch.from_numpy(compiled([video.numpy()])[0].copy())


def quantised(path: Path, videos: list[Tensor]) -> Path:
    """Weights by channel and maps as int8, whose ranges come from `videos`."""

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[dict] = iter([{"video": video.numpy()} for video in videos])

        def get_next(self) -> dict | None:
            return next(self.left, None)

    prepared, small = path.with_suffix(".prepared.onnx"), path.with_suffix(".int8.onnx")
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(
        str(prepared), str(small), Reader(), QuantFormat.QDQ, per_channel=True, reduce_range=True,
        op_types_to_quantize=["Conv", "Gemm", "MatMul"], **kinds,
    )  # fmt: skip
    return small
