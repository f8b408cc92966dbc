"""Recognition in streams: `OnlineRecognizer`, over the pure function `step`."""

from pv_sparse.online.memories import MEMORIES, Held, Memory, PaperMemory, ScriptMemory, WindowMemory
from pv_sparse.online.prediction import OnlinePrediction
from pv_sparse.online.recognizer import OnlineRecognizer
from pv_sparse.online.stepping import OnlineNetwork, OnlineState, step

__all__ = [
    "Held",
    "MEMORIES",
    "Memory",
    "OnlineNetwork",
    "OnlinePrediction",
    "OnlineRecognizer",
    "OnlineState",
    "PaperMemory",
    "ScriptMemory",
    "WindowMemory",
    "step",
]
