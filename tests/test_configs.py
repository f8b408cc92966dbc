"""Every file of configs/ builds what it describes."""

import importlib

import pytest
import yaml
from torch import nn

from pv_sparse.resources import resource_dir

MODELS = sorted((resource_dir("configs") / "model").glob("*.yaml"))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_model_builds(path):
    arguments = yaml.safe_load(path.read_text())
    module, _, name = arguments.pop("_target_").rpartition(".")
    if arguments.get("backbone_weights") == "imagenet":
        arguments["backbone_weights"] = None  # A download; test_models.py tests it on a file that is already there.
    model = getattr(importlib.import_module(module), name)(num_classes=3, **arguments)
    assert isinstance(model, nn.Module)
