"""What `torch.hub.list`, `help` and `load` find here: the architectures of the zoo."""

dependencies = ["torch", "torchvision", "iopath", "pytorchvideo", "safetensors", "yaml"]

from pv_sparse.zoo.hub import *  # noqa: E402, F403
