"""What exporting checks before it writes, and what it leaves beside the files."""

import json

import pytest
import torch

import pv_sparse as pvs
from pv_sparse.errors import PvSparseError
from pv_sparse.inference.export import export_model
from pv_sparse.inference.export_writing import Check

BATCHES = [torch.zeros(1, 3, 1, 2, 2), torch.zeros(3, 3, 1, 2, 2)]


class Answers:
    """An export whose file answers with what `logits` makes for a batch."""

    title, versions = "a test", {}

    def __init__(self, logits):
        self.logits = logits

    def load(self, _path):
        return self.logits


def zeros(video):
    return {"verb": torch.zeros(len(video), 2), "noun": torch.zeros(len(video), 2)}


def nan_in_a_task(video):
    return {**zeros(video), "noun": torch.full((len(video), 2), torch.nan)}


def nan_in_a_batch(video):
    return zeros(video) if len(video) == 1 else nan_in_a_task(video)


@pytest.mark.parametrize("logits", [nan_in_a_task, nan_in_a_batch])
def test_no_number_is_no_small_difference(tmp_path, logits):
    check = Check(BATCHES, [zeros(batch) for batch in BATCHES], 1e-4)
    assert check.difference(Answers(zeros), tmp_path / "m.pt") == 0
    with pytest.raises(PvSparseError, match=r"m\.pt: logits of the exported model differ by nan"):
        check.difference(Answers(logits), tmp_path / "m.pt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_description_is_not_taken_from_another_file(tmp_path):
    model, example = pvs.create_tsn(num_classes=5, backbone="tiny").eval(), torch.randn(1, 3, 2, 32, 32)
    export_model(model, tmp_path / "m.pt", example)
    export_model(model, tmp_path / "m.pt", example)  # its own may be replaced
    before = (tmp_path / "m.json").read_text()
    with pytest.raises(ValueError, match=r"m\.json describes m\.pt, which is there: choose another name"):
        export_model(model, tmp_path / "m.pt2", example)
    assert (tmp_path / "m.json").read_text() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.json", "m.pt"]
    (tmp_path / "m.pt").unlink()
    (tmp_path / "m.pt2.data").write_text("weights of an older model")
    export_model(model, tmp_path / "m.pt2", example)
    assert json.loads((tmp_path / "m.json").read_text())["file"] == "m.pt2"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.json", "m.pt2"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"file": 3}', '{"file": ""}', '{"file": "../gone.pt"}'])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_json_that_describes_nothing_is_replaced(tmp_path, text):
    from pv_sparse.inference.export_writing import check_description

    (tmp_path / "m.json").write_text(text)
    check_description(tmp_path / "m.pt")
