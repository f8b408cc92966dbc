"""Tables of videos with labels of several tasks, or several right classes."""

import pytest

from pv_sparse import PvSparseError
from pv_sparse.data import frame_folders_of, read_label_table


def table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_numbers_and_names(tmp_path):
    path = table(tmp_path, "path,label\na.mp4,run\nb c.mp4,jump\n")
    videos = read_label_table(path, root="videos")
    assert videos.samples == [("videos/a.mp4", {"label": 1}), ("videos/b c.mp4", {"label": 0})]
    assert videos.classes == ("jump", "run")
    numbers = read_label_table(table(tmp_path, "path,label\na.mp4,3\n"))
    assert numbers.samples == [("a.mp4", {"label": 3})]
    assert numbers.classes == ()


def test_several_tasks(tmp_path):
    path = table(tmp_path, "file,verb_class,noun\na.mp4,2,cup\nb.mp4,0,\n")
    videos = read_label_table(path, video="file", label={"verb": "verb_class", "noun": "noun"})
    assert videos.samples == [
        ("a.mp4", {"label": {"verb": 2, "noun": 0}}),
        ("b.mp4", {"label": {"verb": 0, "noun": -1}}),
    ]
    assert videos.classes == {"verb": (), "noun": ("cup",)}


def test_several_right_classes(tmp_path):
    path = table(tmp_path, "path,labels\na.mp4,run; jump\nb.mp4,\n")
    videos = read_label_table(path, label="labels", multi_label=True, classes=["jump", "run", "sit"])
    assert [info["label"] for _, info in videos.samples] == [[1, 0], []]
    assert videos.classes == ("jump", "run", "sit")


def test_classes_from_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("sit\nrun\n")
    videos = read_label_table(table(tmp_path, "path,label\na.mp4,run\n"), classes=tmp_path / "names.txt")
    assert videos.samples[0][1] == {"label": 1}


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("path,class\na.mp4,run\n", {}, "no column label: it has path, class"),
        ("path,label\na.mp4,fly\n", {"classes": ["run"]}, "line 2: the class 'fly' is not among the 1 classes"),
        ("path,label\na.mp4,7\n", {"classes": ["run"]}, "line 2: the class '7' is not among the 1 classes"),
        ("path,label\na.mp4,\n", {}, "line 2: no label in the column 'label'"),
        ("path,label\na.mp4,-1\nb.mp4,1\n", {}, "line 2: no label in the column 'label': give it, or leave the video"),
        ("path,labels\na.mp4,1;-1\n", {"label": "labels", "multi_label": True}, "line 2: no label in the column"),
        ("path,label\na.mp4,1\nb.mp4,1.0\n", {}, r"line 3: the class '1\.0' is no whole number"),
        ("path,label\na.mp4,1.0\n", {"label": {"verb": "label"}}, r"line 2: the class '1\.0' is no whole number"),
        ("path,label\na.mp4,-2\nb.mp4,0\n", {}, "line 2: the class '-2' is no whole number"),
        ("path,label\n\na.mp4,1\nb.mp4\n", {}, "line 4: it has fewer cells than the first line"),
        ("path,label\na.mp4\n", {"label": {"verb": "label"}}, "line 2: it has fewer cells than the first line"),
        ("path,label\na, b.mp4,1\n", {}, "line 2: it has more cells than the first line"),
        ("", {}, "no column path, label: it has no first line"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, text, arguments, words):
    with pytest.raises(PvSparseError, match=words):
        read_label_table(table(tmp_path, text), **arguments)


def test_arguments_that_do_not_fit(tmp_path):
    path = table(tmp_path, "path,verb\na.mp4,1\n")
    with pytest.raises(ValueError, match="multi_label=True goes with one column"):
        read_label_table(path, label={"verb": "verb"}, multi_label=True)
    with pytest.raises(ValueError, match="does not fit the tasks verb: give a dict"):
        read_label_table(path, label={"verb": "verb"}, classes=["take"])


def test_folders_of_flow_are_named_like_their_videos(tmp_path):
    videos = frame_folders_of(read_label_table(table(tmp_path, "path,label\nrun/v_1.avi,run\n"), root="flow"))
    assert videos.samples == [("flow/run/v_1", {"label": 0})]
    assert videos.classes == ("run",)


def test_a_table_of_excel_begins_with_a_mark(tmp_path):
    videos = read_label_table(table(tmp_path, "\ufeffpath,label,\na.mp4,run,,\n"))
    assert videos.samples == [("a.mp4", {"label": 0})]


def test_a_task_that_is_not_labelled_is_no_class(tmp_path):
    path = table(tmp_path, "path,verb,noun\na.mp4,-1,cup\nb.mp4,1,-1\n")
    videos = read_label_table(path, label={"verb": "verb", "noun": "noun"})
    assert [info["label"] for _, info in videos.samples] == [{"verb": -1, "noun": 0}, {"verb": 1, "noun": -1}]
    assert videos.classes == {"verb": (), "noun": ("cup",)}


def test_classes_that_are_given_say_the_order_of_names(tmp_path):
    path = table(tmp_path, "path,label\na.mp4,run\nb.mp4,10\n")
    videos = read_label_table(path, classes=["sit", "run", 10])
    assert [info["label"] for _, info in videos.samples] == [1, 2]
    assert videos.classes == ("sit", "run", "10")
    tasks = read_label_table(path, label={"verb": "label"}, classes={"verb": ["sit", "10", "run"]})
    assert [info["label"] for _, info in tasks.samples] == [{"verb": 2}, {"verb": 1}]
