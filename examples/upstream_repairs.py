"""Copies of what PyTorchVideo's users train with, repaired for today's Lightning, torchmetrics and torch.

    python examples/upstream_repairs.py REPAIRED --trainer pytorchvideo/pytorchvideo_trainer --recipes recipes
    python examples/upstream_repairs.py REPAIRED --slowfast SlowFast

The checkouts are those of git master: facebookresearch/pytorchvideo, /recipes and /SlowFast. They stay as they are; put
REPAIRED into PYTHONPATH. What is changed has nothing to do with pv_sparse: without it they do not run at all.
"""

import argparse
import shutil
from importlib.util import find_spec
from pathlib import Path

# (file, what stands there, what has to), each in a line or a few of its own.
Repair = tuple[str, str, str]

TODAYS_TRAINER = '''
import inspect


def todays_trainer(**given):
    """Lightning 2's Trainer from the arguments of Lightning 1.6: some have another name or default, some are gone."""
    known = inspect.signature(Trainer.__init__).parameters
    arguments = {name: value for name, value in given.items() if name in known and value is not None}
    gpus, distributed = given["gpus"], given["replace_sampler_ddp"]
    arguments |= {"devices": gpus, "accelerator": "gpu"} if gpus else {"devices": 1, "accelerator": "cpu"}
    return Trainer(**arguments, use_distributed_sampler=distributed)


class BaseTrainApp:
'''

RECIPES: list[Repair] = [
    (
        "torchrecipes/utils/trainer_plugins.py",
        "from pytorch_lightning.plugins import PLUGIN, PLUGIN_INPUT\n"
        "from pytorch_lightning.plugins.precision import FullyShardedNativeMixedPrecisionPlugin\n"
        "from pytorch_lightning.strategies import DDPFullyShardedStrategy, DDPStrategy\n",
        "from pytorch_lightning.strategies import DDPStrategy\n\nPLUGIN = PLUGIN_INPUT = Any\n",
    ),
    ("torchrecipes/core/base_train_app.py", "\nclass BaseTrainApp:\n", TODAYS_TRAINER),
    (
        "torchrecipes/core/base_train_app.py",
        "return Trainer(**trainer_params), log_params",
        "return todays_trainer(**trainer_params), log_params",
    ),
    (
        "torchrecipes/core/base_train_app.py",
        "trainer.fit(self.module, datamodule=self.datamodule)",
        "trainer.fit(self.module, datamodule=self.datamodule, ckpt_path=log_params.get('resume_from_checkpoint'))",
    ),
]
TRAINER: list[Repair] = [
    (
        "pytorchvideo_trainer/callbacks/precise_batchnorm.py",
        "from pytorch_lightning.core.lightning import LightningModule",
        "from pytorch_lightning import LightningModule",
    ),
    ("pytorchvideo_trainer/module/video_classification.py", "trainer.training_type_plugin", "trainer.strategy"),
    (
        "pytorchvideo_trainer/conf/module/metrics/accuracy.yaml",
        "_target_: torchmetrics.Accuracy\n",
        "_target_: torchmetrics.Accuracy\n    task: multiclass\n    num_classes: ${module.num_classes}\n",
    ),
]

SLOWFAST: list[Repair] = [
    ("slowfast/utils/ava_eval_helper.py", "vision.fair.slowfast.ava_evaluation", "ava_evaluation"),
    ("tools/run_net.py", "vision.fair.slowfast.tools.", "tools."),
    ("tools/train_net.py", "torch.cuda.synchronize()", "torch.cuda.is_available() and torch.cuda.synchronize()"),
]
# Imported by PySlowFast for detection and demos, which are not run; not on a registry, or heavy.
PLACEHOLDERS = {
    "detectron2": {
        "layers.py": "ROIAlign",
        "model_zoo.py": "get_config_file",
        "config.py": "get_cfg",
        "engine.py": "DefaultPredictor",
        "utils/visualizer.py": "Visualizer",
    },
    "fairscale": {"nn/checkpoint.py": "checkpoint_wrapper"},
    "sklearn": {"metrics.py": "average_precision_score = confusion_matrix"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder that the repaired copies go to")
    parser.add_argument("--trainer", type=Path, help="folder that holds pytorchvideo_trainer/")
    parser.add_argument("--recipes", type=Path, help="folder that holds torchrecipes/")
    parser.add_argument("--slowfast", type=Path, help="folder that holds slowfast/ and tools/")
    args = parser.parse_args()
    if args.trainer:
        copy_repaired(args.trainer, ["pytorchvideo_trainer"], args.out, TRAINER)
    if args.recipes:
        copy_repaired(args.recipes, ["torchrecipes"], args.out, RECIPES)
    if args.slowfast:
        copy_repaired(args.slowfast, ["slowfast", "tools", "ava_evaluation"], args.out, SLOWFAST)
        write_placeholders(args.out)


def copy_repaired(checkout: Path, packages: list[str], out: Path, repairs: list[Repair]) -> None:
    for package in packages:
        shutil.copytree(checkout / package, out / package, dirs_exist_ok=True)
    for name, old, new in repairs:
        text = (out / name).read_text()
        if old not in text:
            raise SystemExit(f"{checkout / name}: it is not the version that the repairs are for: {old!r} is missing")
        (out / name).write_text(text.replace(old, new))


def write_placeholders(out: Path) -> None:
    for package, modules in PLACEHOLDERS.items():
        if find_spec(package) is not None:
            continue
        for name, names in modules.items():
            (out / package / name).parent.mkdir(parents=True, exist_ok=True)
            (out / package / name).write_text(f"{names} = object\n")


if __name__ == "__main__":
    main()
