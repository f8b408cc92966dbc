"""The same job on Ray Data: the same files, and workers that may die."""

from dataclasses import replace
from pathlib import Path

import pytest
from batch_jobs import DyingReader, parts_of, rows_of, write_videos, write_weights

pytest.importorskip("ray", reason='needs ray: pip install "pv-sparse[ray]"')

from pv_sparse.batch.clips import ClipReader
from pv_sparse.batch.folder import open_folder
from pv_sparse.batch.job import Chunk, Job, chunks
from pv_sparse.batch.local_engine import run_locally
from pv_sparse.batch.ray_engine import _session, run_on_ray
from pv_sparse.batch.scoring import Scorer
from pv_sparse.errors import PvSparseError
from pv_sparse.looking import Viewer
from pv_sparse.recognition import Recognizer
from pv_sparse.zoo.loading import find_weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]


@pytest.fixture(scope="module")
def session():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where the workers find the readers of the tests
        with _session(jobs=2):
            yield


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"), 7)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return find_weights(write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


def on_ray(folder, reader: ClipReader) -> None:
    for rows in run_on_ray(chunks(folder.job, 2, folder.is_done), reader, folder.job, "cpu", False, 2):
        folder.add(rows)


def here(folder, reader: ClipReader) -> None:
    scorer = Scorer(folder.job, "cpu")
    for rows in run_locally(chunks(folder.job, 2, folder.is_done), reader, scorer, 1, 2):
        folder.add(rows)


@pytest.mark.parametrize("features", [False, True])
def test_the_files_are_those_of_the_local_engine(session, videos, weights, features, tmp_path):
    job, reader = Job(videos, weights, features=features, shard_size=3), ClipReader(Viewer(weights))
    with open_folder(tmp_path / "ray", job) as folder:
        on_ray(folder, reader)
    with open_folder(tmp_path / "local", job) as folder:
        here(folder, reader)
    assert parts_of(tmp_path / "ray") == parts_of(tmp_path / "local")
    assert len(parts_of(tmp_path / "ray")) == 3


def test_frames_that_are_chosen_are_those_of_the_local_engine(session, videos, weights, tmp_path):
    job = Job(videos, weights, shard_size=3, select="diverse")
    reader = ClipReader(Viewer(weights, select=job.select))
    with open_folder(tmp_path / "ray", job) as folder:
        on_ray(folder, reader)
    with open_folder(tmp_path / "local", job) as folder:
        here(folder, reader)
    assert parts_of(tmp_path / "ray") == parts_of(tmp_path / "local")
    expected = [Recognizer(weights, select="diverse")(path).frame_indices for path in videos[:3]]
    assert [row["frame_indices"] for row in rows_of(tmp_path / "ray")[:3]] == expected


def test_a_worker_that_dies_is_replaced(session, videos, weights, tmp_path):
    viewer = Viewer(weights)
    with open_folder(tmp_path / "out", Job(videos, weights, shard_size=3)) as folder:
        on_ray(folder, DyingReader(viewer, poison="04.mp4", mark=tmp_path / "mark"))
        assert (folder.num_done, folder.num_failed) == (8, 2)
    assert (tmp_path / "mark").exists()


def test_a_video_that_every_worker_dies_of_is_an_error_of_its_own(session, videos, weights, tmp_path):
    reader, job = DyingReader(Viewer(weights), poison="06.mp4"), Job(videos, weights, shard_size=2)
    with open_folder(tmp_path / "ray", job) as folder:
        on_ray(folder, reader)
        assert (folder.num_done, folder.num_failed) == (8, 3)
    with open_folder(tmp_path / "local", job) as folder:
        here(folder, reader)
    assert parts_of(tmp_path / "ray") == parts_of(tmp_path / "local")


def test_one_engine_goes_on_where_the_other_was_broken_off(session, videos, weights, tmp_path):
    reader = ClipReader(Viewer(weights))
    with open_folder(tmp_path / "out", Job(videos, weights, shard_size=3)) as folder:
        chunk = next(chunks(folder.job, 2, folder.is_done))
        folder.add(Scorer(folder.job, "cpu").rows(chunk, map(reader.read, chunk.paths)))
        on_ray(folder, reader)
    assert [row["path"] for row in rows_of(tmp_path / "out")] == videos


def test_a_model_that_cannot_be_loaded_is_one_line(session, videos, weights, tmp_path):
    reader = ClipReader(Viewer(weights))
    gone = replace(weights, file={"path": str(tmp_path / "gone.safetensors")})
    with pytest.raises(PvSparseError, match=r"^Ray gave up: .*gone\.safetensors") as caught:
        next(run_on_ray(iter([Chunk([0], videos[:1])]), reader, Job(videos, gone), "cpu", False, 2))
    assert "\n" not in str(caught.value)
