"""Labels in the numbers of the weights: by name where names are known, and mistakes told before any video is opened."""

import logging
from dataclasses import replace

import pytest

from pv_sparse import PvSparseError, WeightsError, get_weights
from pv_sparse.data import VideoList
from pv_sparse.recipes.class_matching import match_labels

NAMES = ("air drumming", "Zumba", "yoga")
WEIGHTS = replace(get_weights("tsn_r50.mm_k400_1x1x8"), name="net", categories=NAMES)
TWO = replace(WEIGHTS, categories={"verb": ("open", "shut"), "noun": ("cup", "tap", "pan")})


def listed(*labels, classes=()) -> VideoList:
    return VideoList(
        [(f"{n}.mp4", {} if label is None else {"label": label}) for n, label in enumerate(labels)], classes
    )


def told(caplog) -> str:
    return "\n".join(entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING)


def test_the_same_classes_keep_their_numbers(caplog):
    assert match_labels(listed(2, 0, classes=NAMES), WEIGHTS)[""].tolist() == [2, 0]
    assert told(caplog) == ""


def test_classes_in_another_order_go_by_name():
    videos = listed(0, 1, 2, classes=("yoga", "zumba", "air_drumming"))
    assert match_labels(videos, WEIGHTS)[""].tolist() == [2, 1, 0]


def test_some_of_the_classes_go_by_name():
    assert match_labels(listed(0, 1, 0, classes=("yoga", "Zumba")), WEIGHTS)[""].tolist() == [2, 1, 2]


def test_lists_without_names_go_by_number(caplog):
    assert match_labels(listed(2, 1), WEIGHTS)[""].tolist() == [2, 1]
    assert match_labels(listed(2, 1, classes=("0", "1", "2")), WEIGHTS)[""].tolist() == [2, 1]
    unnamed = replace(WEIGHTS, categories=("class 0", "class 1", "class 2"))
    assert match_labels(listed(2, 1, classes=NAMES), unnamed)[""].tolist() == [2, 1]
    assert told(caplog) == ""


def test_as_many_classes_of_other_names_go_by_number_and_it_is_said(caplog):
    videos = listed(2, classes=("drumming on air", "Zumba", "yoga"))
    assert match_labels(videos, WEIGHTS)[""].tolist() == [2]
    assert told(caplog) == (
        "1 of the 3 classes of the data are not among the 3 of net, such as 'drumming on air': "
        "classes go by their numbers"
    )
    caplog.clear()
    assert match_labels(videos, WEIGHTS, warn=False)[""].tolist() == [2]
    assert told(caplog) == ""


def test_as_many_classes_without_a_common_name_are_refused():
    with pytest.raises(WeightsError, match=r"3 of the 3 classes .* names of the weights, .* by data\.classes="):
        match_labels(listed(0, classes=("a", "b", "c")), WEIGHTS)


@pytest.mark.parametrize(
    "classes", [("run", "walk"), ("run", "walk", "jump", "sit"), ("Zumba", "something else", "yoga")]
)
def test_other_classes_are_refused(classes):
    with pytest.raises(WeightsError, match=r"of the \d classes of the data are not among the 3 of net, such as '"):
        match_labels(listed(0, classes=classes), WEIGHTS)


def test_a_label_beyond_the_classes_is_refused():
    with pytest.raises(PvSparseError, match=r"1\.mp4: its label 3 is none of the 3 classes, 0 to 2"):
        match_labels(listed(0, 3), WEIGHTS)
    with pytest.raises(PvSparseError, match="its label -2 is none of the 3 classes"):
        match_labels(listed(-2), WEIGHTS)


def test_videos_without_labels_are_known():
    assert match_labels(listed(None, 1), WEIGHTS)[""].tolist() == [-1, 1]


def test_what_tables_have_in_place_of_a_label_is_none():
    assert match_labels(listed(-1, 1, classes=("yoga", "Zumba")), WEIGHTS)[""].tolist() == [-1, 1]
    labels = match_labels(listed({"verb": -1, "noun": 2}, {"verb": 0, "noun": -1}), TWO)
    assert {task: own.tolist() for task, own in labels.items()} == {"verb": [-1, 0], "noun": [2, -1]}
    several = replace(WEIGHTS, multi_label=True)
    assert match_labels(listed(-1, [1]), several)[""].tolist() == [[-1, -1, -1], [0, 1, 0]]


def test_several_right_classes_are_ones():
    several = replace(WEIGHTS, multi_label=True)
    got = match_labels(listed([0, 2], [], None, 1, classes=NAMES), several)[""]
    assert got.tolist() == [[1, 0, 1], [0, 0, 0], [-1, -1, -1], [0, 1, 0]]
    with pytest.raises(PvSparseError, match="a video has 2 labels, and the weights know one right class"):
        match_labels(listed([0, 2]), WEIGHTS)


def test_each_task_has_labels_of_its_own():
    labels = match_labels(listed({"verb": 1, "noun": 2}, None), TWO)
    assert {task: own.tolist() for task, own in labels.items()} == {"verb": [1, -1], "noun": [2, -1]}


def test_labels_of_other_tasks_are_refused():
    with pytest.raises(PvSparseError, match=r"0\.mp4: its label is of one task, the weights are of verb, noun"):
        match_labels(listed(1), TWO)
    with pytest.raises(PvSparseError, match="its label is of verb, the weights are of verb, noun"):
        match_labels(listed({"verb": 1}), TWO)
    with pytest.raises(PvSparseError, match="its label is of verb, noun, the weights are of one task"):
        match_labels(listed({"verb": 1, "noun": 1}), WEIGHTS)


def test_an_empty_list_is_refused():
    with pytest.raises(PvSparseError, match="the list of videos is empty"):
        match_labels(VideoList([]), WEIGHTS)
