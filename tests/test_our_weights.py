"""The zoo's small weights of our own: in the package, and as good as their records say."""

import dataclasses

import pytest
import torch

import pv_sparse as pvs
from pv_sparse.resources import resource_dir
from pv_sparse.study import appearance20
from pv_sparse.study.generated import order20, untrimmed_appearance
from pv_sparse.study.order20 import CLASSES
from pv_sparse.zoo import hub

NAMES = ("tsn_tiny.order20", "trn_tiny.order20", "eco_lite_tiny.order20")
LONG = "tsn_tiny.appearance20"
LARGEST = 4_000_000


@pytest.mark.parametrize("name", [*NAMES, LONG])
def test_they_are_in_the_package_and_small(name):
    weights = pvs.get_weights(name)
    assert weights.is_available
    assert (resource_dir("model_zoo") / weights.file["resource"]).stat().st_size < LARGEST
    assert weights.categories == (appearance20.CLASSES if name == LONG else CLASSES)
    assert 0 < weights.exit_temperature < 1
    assert weights.metrics[0]["by"] == "us"
    assert f"model={weights.architecture}" in weights.notes or weights.architecture == "trn_tiny"


def test_they_are_in_the_hub():
    model = hub.eco_lite_tiny(pretrained=True)
    assert model(torch.zeros(1, 3, 8, 64, 64)).shape == (1, 20)


def test_a_file_that_is_missing_from_the_installation_is_told():
    weights = pvs.get_weights("tsn_tiny.order20")
    lost = dataclasses.replace(weights, file={**weights.file, "resource": "weights/lost.safetensors"})
    with pytest.raises(pvs.WeightsError, match="is missing from this installation: install pv-sparse anew"):
        pvs.load_model(lost)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """The first of the videos that the records' figures are of."""
    return order20(tmp_path_factory.mktemp("order20"), "val", 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_they_know_what_their_records_say(videos, name):
    """To 6 points, about two standard deviations of 100 videos at the measured accuracies."""
    weights, model = pvs.get_weights(name), pvs.load_model(name)
    dataset, transform = pvs.SparseVideoDataset(videos, weights.sampler(), dtype="uint8"), weights.transform()
    samples = (dataset[number] for number in range(len(dataset)))
    right = [int(model(transform(sample["video"])[None]).argmax()) == sample["label"] for sample in samples]
    assert 100 * sum(right) / len(right) == pytest.approx(weights.metrics[0]["top1"], abs=6)


@pytest.mark.slow
def test_only_those_that_see_order_tell_twins_apart(videos):
    """`recognize` on both of each pair: the same frames the other way round."""
    few = videos.samples[:20]
    for name, right in (("trn_tiny.order20", 20), ("tsn_tiny.order20", 10)):
        # Of each two classes, the second is the first played backwards.
        found = [pvs.recognize(path, name).classes[0].index % 2 for path, _ in few]
        assert sum(order == info["label"] % 2 for order, (_, info) in zip(found, few, strict=True)) == right


def test_the_name_gives_the_scorer_too():
    selector = pvs.load_selector(LONG)
    assert selector.num_looks == 64
    assert not selector.scorer.training


@pytest.mark.slow
def test_the_scorer_finds_what_eight_even_frames_miss(tmp_path):
    """In videos of 60 to 240 s, of which the event takes 3 to 10 %: of 20, all but four, where chance is one."""
    videos = untrimmed_appearance(tmp_path, "val", 20)
    found = {
        select: [pvs.recognize(path, LONG, select=select).classes[0].index for path, _ in videos.samples]
        for select in (None, "saliency")
    }
    labels = [info["label"] for _, info in videos.samples]
    right = {
        select: sum(own == label for own, label in zip(told, labels, strict=True)) for select, told in found.items()
    }
    assert right["saliency"] >= 16
    assert right[None] <= 8
