"""`pv-sparse index`: a corpus measured in parallel processes, into a file that an interruption does not lose."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import click
from tqdm import tqdm

from pv_sparse.data.corpus_index import VideoRecord, check_format, measure, read_index, size_of, write_index
from pv_sparse.data.video_files import find_all_videos
from pv_sparse.parallel import for_each

ERRORS_TOLD = 3


def run(arguments: Iterable[str], output: str, jobs: int) -> None:
    """Measure what `output` does not know yet, write it, and tell on standard error what could not be read."""
    check_format(output)
    _check_folder(output)
    videos = find_all_videos(arguments)
    known = _known(output)
    unknown = [video for video in videos if video not in known or known[video].size_bytes != size_of(video)]
    measured = _measure_all(unknown, _journal_of(output), jobs)
    newest = {**known, **measured}
    here = set(videos)
    records = {path: newest[path] for path in [*(path for path in known if path not in here), *videos]}
    write_index(records.values(), output)
    _journal_of(output).unlink(missing_ok=True)
    click.echo(_summary([records[video] for video in videos], len(measured)), err=True)


def _check_folder(output: str) -> None:
    """Before hours of work, not after."""
    if not Path(output).absolute().parent.is_dir():
        raise FileNotFoundError(f"{output}: there is no folder {Path(output).absolute().parent}")


def _known(output: str) -> dict[str, VideoRecord]:
    """What the finished index and the journal of an interrupted run tell."""
    finished = read_index(output) if os.path.exists(output) else {}
    return {**finished, **_read_journal(_journal_of(output))}


def _journal_of(output: str) -> Path:
    return Path(f"{output}.part")


def _read_journal(path: Path) -> dict[str, VideoRecord]:
    """Its whole lines; a last line that a killed run left unfinished is cut off, so that more can follow."""
    if not path.exists():
        return {}
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    rows = [json.loads(line) for line in whole.splitlines()]
    os.truncate(path, len(whole) + 1 if whole else 0)
    return {row["path"]: VideoRecord(**{**row, "keyframes": _tuple(row["keyframes"])}) for row in rows}


def _tuple(numbers: list[int] | None) -> tuple[int, ...] | None:
    return None if numbers is None else tuple(numbers)


def _measure_all(videos: list[str], journal: Path, jobs: int) -> dict[str, VideoRecord]:
    """By path; each record is in the journal before the next one is awaited."""
    measured = {}
    with journal.open("a", encoding="ascii") as file:
        for record in _progress(_records(videos, jobs), len(videos)):
            measured[record.path] = record
            file.write(json.dumps(asdict(record)) + "\n")
            file.flush()
    return measured


def _records(videos: list[str], jobs: int) -> Iterator[VideoRecord]:
    for video, outcome in for_each(measure, videos, jobs):
        if isinstance(outcome, VideoRecord):
            yield outcome
        else:  # its process died
            yield VideoRecord(video, f"{video}: {outcome}", size_bytes=size_of(video))


def _progress(records: Iterator[VideoRecord], total: int) -> Iterator[VideoRecord]:
    return iter(tqdm(records, total=total, unit="video", disable=total < 2 or not sys.stderr.isatty()))


def _summary(records: list[VideoRecord], num_measured: int) -> str:
    """Such as "200 videos (12 measured now), 3 unreadable: a.mp4: the file is empty; ..."."""
    errors = [record.error for record in records if record.error is not None]
    counts = f"{len(records)} video{'' if len(records) == 1 else 's'} ({num_measured} measured now)"
    if not errors:
        return f"{counts}, all readable"
    more = f"; and {len(errors) - ERRORS_TOLD} more in the column `error`" if len(errors) > ERRORS_TOLD else ""
    text = f"{counts}, {len(errors)} unreadable: {'; '.join(errors[:ERRORS_TOLD])}{more}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
