"""The contact sheets of what a TRN found relevant."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pv_sparse import create_trn, create_tsn, get_weights, save_model
from pv_sparse.data.annotations import VideoList
from pv_sparse.data.encoding import write_video
from pv_sparse.drawing import ACCENT
from pv_sparse.looking import Look
from pv_sparse.study.relevance import TILE_WIDTH, draw_relevance, write_sheets

CLASSES = ("rises", "falls", "waits")


@pytest.fixture
def videos(tmp_path) -> VideoList:
    """Two of each class."""
    random = np.random.default_rng(0)
    samples = []
    for number in range(6):
        path = tmp_path / "videos" / f"{number}.mp4"
        write_video(path, random.integers(0, 255, (8, 48, 64, 3), dtype=np.uint8))
        samples.append((str(path), {"label": number // 2}))
    return VideoList(samples, CLASSES)


def saved(folder: Path, builder: str = "create_trn") -> Path:
    torch.manual_seed(0)
    arguments = {"num_classes": 3, "backbone": "tiny"} | ({"num_segments": 4} if builder == "create_trn" else {})
    model = {"create_trn": create_trn, "create_tsn": create_tsn}[builder](**arguments)
    build = {"builder": builder, "arguments": arguments}
    sampling = {"num_segments": 4, "rule": "center"}
    record = replace(
        get_weights("tsn_efficientnet_lite0.in1k"), build=build, categories=CLASSES, sampling=sampling, one_view={}
    )
    save_model(model.eval(), folder / "model.safetensors", record)
    return folder / "model.safetensors"


def test_sheets_show_a_video_of_each_class_and_say_what_was_relevant(tmp_path, videos):
    paths = write_sheets(saved(tmp_path), videos, tmp_path / "sheets", number=2)
    assert [path.name for path in paths] == ["rises.jpg", "falls.jpg"]
    told = json.loads((tmp_path / "sheets" / "sheets.json").read_text())
    assert [sheet["file"] for sheet in told] == ["rises.jpg", "falls.jpg"]
    for path, sheet in zip(paths, told, strict=True):
        assert path.stat().st_size < 60_000
        with Image.open(path) as picture:
            assert picture.width > 4 * TILE_WIDTH
        assert path.stem in sheet["alt"]
        assert sheet["caption"].startswith("Taken for ")
        assert "Most relevant: frames " in sheet["caption"]


def test_the_frames_of_the_tuple_are_marked():
    look = Look(torch.zeros(3, 3, 20, 20, dtype=torch.uint8), [1, 4, 7], [0.0, 0.1, 0.2], 9, 0.4)
    sheet = draw_relevance("title", look, (0, 2))
    accent = tuple(int(ACCENT[place : place + 2], 16) for place in (1, 3, 5))
    row = [sheet.getpixel((x, 60)) for x in range(sheet.width)]
    starts = [x for x in range(1, len(row)) if row[x] == accent != row[x - 1]]
    assert [x // (TILE_WIDTH + 10) for x in starts] == [0, 0, 2, 2]  # the left and the right side of two frames


def test_a_model_that_has_no_tuples_is_told(tmp_path, videos):
    with pytest.raises(ValueError, match="cannot explain itself"):
        write_sheets(saved(tmp_path, "create_tsn"), videos, tmp_path / "sheets")
    with pytest.raises(ValueError, match="number=0 is not allowed"):
        write_sheets(tmp_path / "none", videos, tmp_path / "sheets", number=0)
