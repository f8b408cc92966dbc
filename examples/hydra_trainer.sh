#!/usr/bin/env bash
# PyTorchVideo's own Hydra trainer on its own command line: three names are ours, the rest is as always.
#
#     examples/hydra_trainer.sh VIDEOS OUT CONFIG [what the trainer's command line takes]
#
# VIDEOS is a folder with a folder of videos for each class, CONFIG one of the trainer's, as classification_slow_8x8_r50.
# PYTHONPATH has to find pytorchvideo_trainer and torchrecipes (examples/upstream_repairs.py makes them run on today's
# Lightning), and pytorchvideo's git master; pip install submitit. On one CPU, say also
#
#     trainer=cpu trainer.gpus=null trainer.num_nodes=1
set -euo pipefail
videos=$(cd "$1" && pwd)
out=$(mkdir -p "$2" && cd "$2" && pwd)
config=$3
shift 3
classes=$(find "$videos" -mindepth 1 -maxdepth 1 -type d | wc -l)

# Our sampler and decoder are in kinetics_sparse. Hydra finds the three through hydra_plugins/; nothing is imported here.
arguments=(
    module/model=trn_r50
    datamodule/dataloader=kinetics_sparse
    datamodule/transforms=sparse_8f
    module.num_classes="$classes"
    module.metrics.1.config.top_k=$((classes < 5 ? classes : 5)) # torchmetrics refuses the top 5 of fewer classes
    datamodule.dataloader.train.dataset.data_path="$videos"
    datamodule.dataloader.val.dataset.data_path="$videos"
    datamodule.dataloader.{train,val,test}.num_workers=2
    +submitit_conf=fair_cluster # its mode trains, then tests
    logger.save_dir="$out"
    hydra.run.dir="$out/hydra"
)
# Without SLURM, submitit works on in the background, for 2 minutes at most and with this pipe open: cat waits for it.
python -m pytorchvideo_trainer.train_app --config-name="$config" "${arguments[@]}" "$@" | cat
