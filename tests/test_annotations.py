"""The lists that people have."""

import json

import pytest

from pv_sparse.data import (
    VideoList,
    read_class_folders,
    read_hmdb51_split,
    read_kinetics_csv,
    read_path_list,
    read_something_json,
    read_ucf101_split,
    read_videos,
)
from pv_sparse.errors import PvSparseError


def write(path, text):
    path.write_text(text)
    return path


def pairs(videos: VideoList) -> list:
    return [(path, info.get("label")) for path, info in videos.samples]


def test_path_and_label(tmp_path):
    listed = write(tmp_path / "list.txt", "# mmaction2\na/b c.mp4 3\n\nd.mp4,0\n/e.mp4\t12\n")
    assert pairs(read_path_list(listed, "root")) == [("root/a/b c.mp4", 3), ("root/d.mp4", 0), ("/e.mp4", 12)]


def test_path_number_of_frames_and_label(tmp_path):
    listed = write(tmp_path / "list.txt", "a/v_1 120 3\nb c 7 0\n")
    assert read_path_list(listed).samples == [
        ("a/v_1", {"label": 3, "num_frames_listed": 120}),
        ("b c", {"label": 0, "num_frames_listed": 7}),
    ]


def test_a_line_without_a_label_is_told(tmp_path):
    listed = write(tmp_path / "list.txt", "a.mp4 1\nb.mp4\n")
    with pytest.raises(PvSparseError, match=r"list\.txt, line 2: 'b\.mp4' has no label"):
        read_path_list(listed)


def test_kinetics(tmp_path):
    train = write(
        tmp_path / "train.csv",
        'label,youtube_id,time_start,time_end,split\nzumba,--x,5,15,train\n"arm wrestling",y_1,0.0,10.0,train\n',
    )
    videos = read_kinetics_csv(train, "k400")
    assert videos.classes == ("arm wrestling", "zumba")
    assert pairs(videos) == [
        ("k400/zumba/--x_000005_000015.mp4", 1),
        ("k400/arm wrestling/y_1_000000_000010.mp4", 0),
    ]
    flat = read_kinetics_csv(train, files="{youtube_id}.mkv", classes=["zumba", "arm wrestling"])
    assert pairs(flat) == [("--x.mkv", 0), ("y_1.mkv", 1)]
    test = write(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\nz,1,2,test\n")
    assert pairs(read_kinetics_csv(test, files="{youtube_id}.mp4")) == [("z.mp4", None)]
    with pytest.raises(PvSparseError, match="the class 'zumba' is not among the 1 classes given"):
        read_kinetics_csv(train, classes=["arm wrestling"])
    with pytest.raises(PvSparseError, match="no column time_end, time_start, youtube_id"):
        read_kinetics_csv(write(tmp_path / "other.csv", "a,b\n1,2\n"))
    assert len(read_videos(train)) == 2


def test_something_something_v2_and_v1(tmp_path):
    labels = write(tmp_path / "labels.json", json.dumps({"Holding something": "1", "Closing something": "0"}))
    entries = [{"id": "7", "template": "Holding [something]"}, {"id": 8, "template": "Closing [something]"}]
    videos = read_something_json(write(tmp_path / "train.json", json.dumps(entries)), labels, "sthv2")
    assert videos.classes == ("Closing something", "Holding something")
    assert pairs(videos) == [("sthv2/7.webm", 1), ("sthv2/8.webm", 0)]
    test = write(tmp_path / "test.json", json.dumps([{"id": "9"}]))
    assert pairs(read_something_json(test, labels)) == [("9.webm", None)]
    names = write(tmp_path / "v1.csv", "Closing something\nHolding something\n")
    split = write(tmp_path / "v1_train.csv", "100;Holding something\n101;Closing something\n")
    assert pairs(read_something_json(split, names, "jpg", suffix="")) == [("jpg/100", 1), ("jpg/101", 0)]


def test_ucf101(tmp_path):
    write(tmp_path / "classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n")
    train = write(tmp_path / "trainlist01.txt", "Archery/v_Archery_g08_c01.avi 2\n")
    test = write(tmp_path / "testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\n")
    assert pairs(read_ucf101_split(train, root="u")) == [("u/Archery/v_Archery_g08_c01.avi", 1)]
    assert pairs(read_ucf101_split(test)) == [("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", 0)]
    with pytest.raises(PvSparseError, match="the class 'Rowing' is not among the 2 classes"):
        read_ucf101_split(write(tmp_path / "testlist02.txt", "Rowing/v.avi\n"))


def test_hmdb51(tmp_path):
    write(tmp_path / "wave_test_split1.txt", "a b.avi 1 \nc.avi 2 \nd.avi 0 \n")
    write(tmp_path / "cartwheel_test_split1.txt", "e.avi 1 \n")
    training = read_hmdb51_split(tmp_path, 1, root="hmdb")
    assert training.classes == ("cartwheel", "wave")
    assert pairs(training) == [("hmdb/cartwheel/e.avi", 0), ("hmdb/wave/a b.avi", 1)]
    assert pairs(read_hmdb51_split(tmp_path, 1, is_training=False)) == [("wave/c.avi", 1)]
    with pytest.raises(PvSparseError, match=r"no files <class>_test_split3\.txt"):
        read_hmdb51_split(tmp_path, 3)


def test_a_folder_for_each_class(tmp_path):
    for name in ("b/2.mp4", "b/1.avi", "a/frames/img_00001.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = read_class_folders(tmp_path)
    assert videos.classes == ("a", "b")
    assert pairs(videos) == [
        (str(tmp_path / "a/frames"), 0),
        (str(tmp_path / "b/1.avi"), 1),
        (str(tmp_path / "b/2.mp4"), 1),
    ]
    assert read_videos(tmp_path) == videos
    (tmp_path / "empty").mkdir()
    with pytest.raises(PvSparseError, match="a folder of videos for each class"):
        read_class_folders(tmp_path / "empty")
