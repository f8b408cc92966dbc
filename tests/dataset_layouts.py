"""The lists of the public data sets, laid out as their archives unpack, with a video or two in each."""

import json
from pathlib import Path

from pv_sparse.resources import resource_dir

CATEGORIES = resource_dir("model_zoo") / "categories"
KINETICS = "label,youtube_id,time_start,time_end,split\nrun,aaa,0,10,{0}\nsit,bbb,5,15,{0}\n"


def write_lists(root: Path) -> Path:
    """All of them below one folder; returns it."""
    # All of them, since what a flip swaps goes by their order.
    something_v1 = (CATEGORIES / "something_v1_csv_order.txt").read_text(encoding="utf-8")
    something_v2 = (CATEGORIES / "something_v2.txt").read_text(encoding="utf-8").splitlines()
    texts = {
        "ucfTrainTestlist/classInd.txt": "1 Archery\n2 Bowling\n",
        "ucfTrainTestlist/trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\nBowling/v_Bowling_g08_c01.avi 2\n",
        "ucfTrainTestlist/testlist01.txt": "Archery/v_Archery_g01_c01.avi\n",
        "testTrainMulti_7030_splits/run_test_split1.txt": "a.avi 1\nb.avi 2\nc.avi 0\n",
        "testTrainMulti_7030_splits/sit_test_split1.txt": "d.avi 1\ne.avi 2\n",
        "annotations/train.csv": KINETICS.format("train"),
        "annotations/val.csv": KINETICS.format("val"),
        "something-something-v1-labels.csv": something_v1,
        "something-something-v1-train.csv": "100;Opening something\n",
        "something-something-v1-validation.csv": "101;Closing something\n",
        "jester-v1-labels.csv": "Swiping Left\nSwiping Right\n",
        "jester-v1-train.csv": "100;Swiping Right\n",
        "jester-v1-validation.csv": "101;Swiping Left\n",
        "labels/labels.json": json.dumps({name: str(number) for number, name in enumerate(something_v2)}),
        "labels/train.json": json.dumps([{"id": "7", "template": "Closing [something]"}]),
        "labels/validation.json": json.dumps([{"id": "8", "template": "Opening [something]"}]),
        "train.csv": "path,label\na.mp4,run\nb.mp4,sit\n",
        "val.csv": "path,label\nc.mp4,run\nd.mp4,sit\n",
        "train/run/a.mp4": "",
        "train/sit/b.mp4": "",
        "val/run/c.mp4": "",
        "val/sit/d.mp4": "",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
