"""PySlowFast's tools/run_net.py, training and testing a model of ours on a data set of ours.

    python examples/slowfast_run_net.py VIDEOS OUT [--opts what PySlowFast's command line takes]

VIDEOS is a folder with a folder of videos for each class. Model and data set are named in slowfast_tsn_r50.yaml.
PYTHONPATH has to find PySlowFast's `slowfast` and `tools`, and pytorchvideo's git master, which it needs
(examples/upstream_repairs.py makes PySlowFast run on a CPU, without detectron2); pip install simplejson pandas.
"""

import sys
from pathlib import Path

import pv_sparse as pvs
from pv_sparse.data import read_class_folders

# pv_sparse: from here on tsn_r50 and ptvsparse are in PySlowFast's registries.
pvs.register()

from tools.run_net import main as run_net  # noqa: E402


def main() -> None:
    videos, out, *options = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    listed = read_class_folders(Path(videos).resolve())
    lines = [f"{path} {info['label']}\n" for path, info in listed.samples]
    for split in ("train", "val", "test"):  # as PySlowFast's Kinetics has them
        Path(out, f"{split}.csv").write_text("".join(lines))

    num_classes = max(5, len(listed.classes))  # PySlowFast looks among the best 5 always
    own = ["OUTPUT_DIR", out, "DATA.PATH_TO_DATA_DIR", out, "MODEL.NUM_CLASSES", str(num_classes)]
    sys.argv[1:] = ["--cfg", str(Path(__file__).with_name("slowfast_tsn_r50.yaml")), "--opts", *own, *options[1:]]
    run_net()


if __name__ == "__main__":
    main()
