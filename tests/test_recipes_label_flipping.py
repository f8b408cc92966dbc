"""Mirrored clips with mirrored labels: both or neither, and pairs that are what the class lists say."""

import re

import pytest
import torch

from pv_sparse import resources
from pv_sparse.transforms import create_sparse_video_transform, flip_clip
from pv_sparse.transforms.label_flipping import LABEL_FLIPS, RandomLabelFlip

CLIP = torch.arange(3 * 2 * 4 * 5, dtype=torch.uint8).reshape(3, 2, 4, 5)
MIRRORED_WORDS = {"left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise"}


def sample(label, **further) -> dict:
    return {"video": CLIP, "label": label, "video_name": "a.mp4", **further}


def mirrored_name(name: str) -> str:
    words = re.split(r"(\W+)", name.lower())
    return "".join(MIRRORED_WORDS.get(word, word) for word in words)


@pytest.mark.parametrize("list_name", LABEL_FLIPS)
def test_the_pairs_are_all_classes_whose_mirror_image_is_another(list_name):
    text = (resources.resource_dir("model_zoo") / "categories" / f"{list_name}.txt").read_text()
    names = [name.lower() for name in text.splitlines()]
    mirror_images = {
        (number, names.index(mirrored_name(name)))
        for number, name in enumerate(names)
        if mirrored_name(name) != name and mirrored_name(name) in names
    }
    pairs = LABEL_FLIPS[list_name]
    assert mirror_images == {*pairs, *((b, a) for a, b in pairs)}


@pytest.mark.parametrize(("label", "mirrored"), [(86, 87), (87, 86), (166, 167), (0, 0), (-1, -1)])
def test_clip_and_label_are_mirrored_together(label, mirrored):
    found = RandomLabelFlip("something_v2", p=1)(sample(label))
    assert torch.equal(found["video"], CLIP.flip(-1))
    assert found["label"] == mirrored
    assert found["video_name"] == "a.mp4"


def test_nothing_is_done_at_p_0():
    given = sample(86)
    found = RandomLabelFlip("something_v2", p=0)(given)
    assert found is not given
    assert torch.equal(found["video"], CLIP)
    assert found["label"] == 86


def test_one_draw_for_both():
    transform, given = RandomLabelFlip([(1, 2)]), sample(1)
    found = [transform(given) for _ in range(200)]
    is_mirrored = [torch.equal(one["video"], CLIP.flip(-1)) for one in found]
    assert [one["label"] for one in found] == [2 if flag else 1 for flag in is_mirrored]
    assert 70 < sum(is_mirrored) < 130
    assert given["label"] == 1
    torch.manual_seed(0)
    transform(given)
    after = torch.rand(())
    torch.manual_seed(0)
    torch.rand(())
    assert after == torch.rand(())


def test_labels_of_several_tasks():
    transform = RandomLabelFlip({"verb": [(1, 2)]}, p=1)
    assert transform(sample({"verb": 2, "noun": 1}))["label"] == {"verb": 1, "noun": 1}


def test_flow_and_several_clips():
    flow = CLIP[:2]
    found = RandomLabelFlip([(1, 2)], p=1, video_key="clip")({"clip": [flow, flow], "label": 1})
    assert all(torch.equal(clip, flip_clip(flow)) for clip in found["clip"])
    assert found["label"] == 2


def test_before_the_usual_transform():
    torch.manual_seed(0)
    usual = create_sparse_video_transform("train", size=4, flip_probability=0, scales=(1,))
    found = usual(RandomLabelFlip("jester", p=1)(sample(16)))
    torch.manual_seed(0)
    torch.rand(())
    assert torch.equal(found["video"], usual(sample(16) | {"video": CLIP.flip(-1)})["video"])
    assert found["label"] == 17


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"pairs": "kinetics400"},
            "pairs='kinetics400' are unknown: choose one of something_v1, something_v1_csv_order",
        ),
        ({"pairs": [(1, 2), (2, 3)]}, r"\(2, 3\) is not allowed in pairs"),
        ({"pairs": [(1, 1)]}, r"\(1, 1\) is not allowed in pairs: give two labels, none of them twice"),
        ({"pairs": [(1, 2, 3)]}, r"\(1, 2, 3\) is not allowed"),
        ({"pairs": {"verb": [(-1, 1)]}}, r"\(-1, 1\) is not allowed"),
        ({"pairs": [(1, 2)], "p": 2}, "p=2 is not allowed"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(ValueError, match=words):
        RandomLabelFlip(**arguments)


@pytest.mark.parametrize(
    ("pairs", "given", "words"),
    [
        ([(1, 2)], {"video": CLIP}, "the sample has no 'label', only video"),
        ([(1, 2)], {"label": 1}, "the sample has no 'video'"),
        ([(1, 2)], sample([1, 2]), r"the label is \[1, 2\]: it must be an integer"),
        (
            [(1, 2)],
            sample({"verb": 1}),
            r"the label is \{'verb': 1\}: it must be an integer, or a dict of them with pa",
        ),
        ({"verb": [(1, 2)]}, sample(1), "the label is 1: it must be a dict, with the tasks verb"),
        ({"verb": [(1, 2)]}, sample({"noun": 1}), "it must be a dict, with the tasks verb"),
    ],
)
def test_samples_that_do_not_fit(pairs, given, words):
    with pytest.raises(ValueError, match=words):
        RandomLabelFlip(pairs, p=0)(given)


def test_it_says_what_it_does():
    assert repr(RandomLabelFlip([(1, 2)])) == "RandomLabelFlip(p=0.5, {1: 2, 2: 1})"
