"""Files over HTTP: what broke off is continued, and tried again while nothing new comes."""

import contextlib
import hashlib
import json
import re
import shutil
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from iopath.common.file_io import PathHandler
from tqdm import tqdm

from pv_sparse import __version__
from pv_sparse.errors import WeightsError
from pv_sparse.zoo.addresses import quoted, shown
from pv_sparse.zoo.file_kinds import SNIFFED_BYTES, is_web_page

SILENCE_SECONDS = 30.0  # without a byte: the connection is taken for dead
DELAYS_SECONDS = (0.5, 1.0, 2.0, 4.0)  # before tries after one that brought nothing new
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others a moment later
CHUNK_BYTES = 1 << 20


class HttpHandler(PathHandler):
    """Resumes what broke off, and tries again with growing pauses while nothing new comes."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["http://", "https://"]

    def _get_local_path(self, path: str, force: bool = False, *, part: Path, progress: bool, is_checked: bool) -> str:
        delays, furthest = iter(DELAYS_SECONDS), _size(part)
        while True:
            try:
                _request_rest(path, part, progress, is_checked)
            except _BrokenOffError as error:
                if _size(part) > furthest:
                    delays, furthest = iter(DELAYS_SECONDS), _size(part)
                delay = None if error.is_final else next(delays, None)
                if delay is None:
                    tries = "" if error.is_final else f", in {len(DELAYS_SECONDS) + 1} tries"
                    raise WeightsError(f"{shown(path)}: {error}{tries}") from error
                time.sleep(delay)
            else:
                return str(part)


def forget(part: Path) -> None:
    """Remove a beginning, and what was noted of it."""
    for path in (_note_path(part), part):  # without a note, what is left of it is not continued
        path.unlink(missing_ok=True)


class _BrokenOffError(Exception):
    """The network, or the server, gave less than the file; `is_final` where that will be so a moment later too."""

    def __init__(self, reason: str, is_final: bool = False):
        super().__init__(reason)
        self.is_final = is_final


class _Beginning(NamedTuple):
    """What an earlier try left: so many bytes of so many (0: not known), of the version that `validator` names."""

    size: int = 0
    total: int = 0
    validator: str = ""


def _request_rest(url: str, part: Path, progress: bool, is_checked: bool) -> None:
    """One request, for what is missing of the file."""
    begun = _beginning(part, url)
    if not is_checked and not begun.validator:
        begun = _Beginning()
    with _answer(url, begun, part) as response:
        if response is not None:
            _receive(response, url, part, begun, progress)


@contextlib.contextmanager
def _answer(url: str, begun: _Beginning, part: Path) -> Iterator[HTTPResponse | None]:
    """The server's answer; None where it says that nothing is left to come."""
    headers = {"User-Agent": f"pv_sparse/{__version__}", "Accept-Encoding": "identity"}
    if begun.size:
        headers["Range"] = f"bytes={begun.size}-"
    if begun.size and begun.validator:
        headers["If-Range"] = begun.validator
    try:
        response: HTTPResponse = urlopen(Request(quoted(url), headers=headers), timeout=SILENCE_SECONDS)  # noqa: S310
    except HTTPError as error:
        error.close()
        if error.code == 416 and begun.size and begun.size == begun.total:
            yield None
            return
        if error.code == 416 and begun.size:
            forget(part)
            raise _BrokenOffError("what had come is not of the file that is there now") from error
        raise _BrokenOffError(
            f"the server answered {error.code} ({error.reason})", error.code not in PASSING
        ) from error
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(_told(error), _is_final(error)) from error
    with response:
        yield response


def _receive(response: HTTPResponse, url: str, part: Path, begun: _Beginning, progress: bool) -> None:
    start, total = _range(response)
    if start not in (0, begun.size) or (start and begun.total and total != begun.total):
        forget(part)
        raise _BrokenOffError("the server sent another part than was asked for")
    _check_space(part, total - start)
    first = _read(response, SNIFFED_BYTES)
    if start == 0:
        _check_beginning(response, first)
        forget(part)
        note = {"url": _digest(url), "total": total, "validator": _validator(response)}
        _note_path(part).write_text(json.dumps(note), encoding="utf-8")
    with part.open("r+b" if start else "wb") as out, _bar(part, start, total, progress) as bar:
        out.seek(start)
        for chunk in _chunks(first, response):
            out.write(chunk)
            bar.update(len(chunk))
        received = out.tell()
    if total and received != total:
        raise _BrokenOffError(f"the connection ended after {received} of {total} bytes")


def _check_beginning(response: HTTPResponse, first: bytes) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    faults = {
        f"the server answered {response.status}, without a file": response.status != 200,
        f"the server sent it packed ({encoding}), which was not asked for": encoding != "identity",
        "the answer is a web page, not a file (of a login, a quota, or an error)": is_web_page(first),
    }
    for told, is_so in faults.items():
        if is_so:
            raise _BrokenOffError(told, is_final=True)


def _chunks(first: bytes, response: HTTPResponse) -> Iterator[bytes]:
    chunk = first
    while chunk:
        yield chunk
        chunk = _read(response)


def _read(response: HTTPResponse, size: int | None = None) -> bytes:
    """So many bytes, or what is there: then nothing is lost where the next byte never comes."""
    try:
        return response.read1(CHUNK_BYTES) if size is None else response.read(size)
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(_told(error)) from error


def _bar(part: Path, start: int, total: int, progress: bool) -> "tqdm[Any]":
    name = part.name.removesuffix(".part")
    return tqdm(initial=start, total=total or None, desc=name, unit="B", unit_scale=True, disable=not progress)


def _range(response: HTTPResponse) -> tuple[int, int]:
    """(the first byte that comes, the size of the whole file or 0)."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return (int(found[1]), int(found[2])) if found else (-1, 0)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else 0


def _validator(response: HTTPResponse) -> str:
    """What names this version of the file; weak tags do not promise the same bytes."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _beginning(part: Path, url: str) -> _Beginning:
    """What can be resumed; nothing where no note says that it is from this address."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(_note_path(part).read_text(encoding="utf-8"))
        if note["url"] == _digest(url):
            return _Beginning(part.stat().st_size, int(note["total"]), str(note["validator"]))
    return _Beginning()


def _digest(url: str) -> str:
    """An address may hold a token, and the note lies on the disk."""
    return hashlib.sha256(url.encode()).hexdigest()


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _check_space(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if wanted > free:
        raise WeightsError(
            f"the disk of {part.parent} has {free / 1e6:.0f} MB left, {part.name.removesuffix('.part')} needs "
            f"{wanted / 1e6:.0f} MB: make room, or set PV_SPARSE_HOME to a folder on another disk"
        )


def _is_final(error: Exception) -> bool:
    return isinstance(error, InvalidURL) or isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError)


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return f"nothing came for {SILENCE_SECONDS:g} seconds"
    return " ".join(str(getattr(error, "reason", None) or error or type(error).__name__).split())
