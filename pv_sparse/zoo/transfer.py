"""Bytes from an address into a file that is not finished yet: over HTTP, from Hugging Face's hub, or from a file.

An iopath `PathManager` of our own tells the schemes apart. What arrives is verified in `pv_sparse.zoo.download`.
"""

import contextlib
import json
import re
import shutil
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

from iopath.common.file_io import PathHandler, PathManager
from tqdm import tqdm

from pv_sparse import __version__
from pv_sparse.errors import WeightsError, one_line
from pv_sparse.zoo.web_page import SNIFFED_BYTES, is_web_page

SILENCE_SECONDS = 30.0  # without a byte: the connection is taken for dead
DELAYS_SECONDS = (0.5, 1.0, 2.0, 4.0)  # before tries after one that brought nothing new
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others a moment later
NETWORK_ERRORS = (URLError, ConnectionError, TimeoutError, ssl.SSLError, HTTPException)
CHUNK_BYTES = 1 << 20


def transfer(url: str, part: Path, progress: bool = True) -> None:
    """Fill `part` with what `url` serves; where an earlier try left a beginning there, with the rest.

    Args:
        url: `http://`, `https://`, `file://`, or `hf://owner/repo[@revision]/file`.
        part: kept where the transfer breaks off, with a note of where it is from in `part.json`.
        progress: whether to show a bar.

    Raises:
        WeightsError: the address serves no such file, or could not be reached in several tries.
        OSError: `part` cannot be written.
    """
    manager = PathManager()
    for handler in (HttpHandler(), FileHandler(), HubHandler()):
        manager.register_handler(handler)
    if not url.startswith(("http://", "https://", "file://", "hf://")):
        raise WeightsError(f"{url}: the address must begin with http://, https://, file:// or hf://")
    manager.get_local_path(url, part=part, progress=progress)


def forget(part: Path) -> None:
    """Remove a beginning, and what was noted of it."""
    for path in (part, _note_path(part)):
        path.unlink(missing_ok=True)


class HttpHandler(PathHandler):
    """Resumes what broke off, and tries again with growing pauses while nothing comes."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["http://", "https://"]

    def _get_local_path(self, path: str, force: bool = False, *, part: Path, progress: bool) -> str:
        delays = iter(DELAYS_SECONDS)
        while True:
            before = _size(part)
            try:
                _request_rest(path, part, progress)
            except NETWORK_ERRORS as error:
                _check_passing(path, error)
                delays = iter(DELAYS_SECONDS) if _size(part) > before else delays
                delay = next(delays, None)
                if delay is None:
                    raise WeightsError(f"{path}: {_told(error)}, in {len(DELAYS_SECONDS) + 1} tries") from error
                time.sleep(delay)
            else:
                return str(part)


class FileHandler(PathHandler):
    """Copies files of this machine."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["file://"]

    def _get_local_path(self, path: str, force: bool = False, *, part: Path, progress: bool) -> str:
        source = Path(url2pathname(urlsplit(path).path))
        if not source.is_file():
            raise WeightsError(f"{path}: no such file")
        shutil.copyfile(source, part)
        return str(part)


class HubHandler(PathHandler):
    """Hugging Face's hub, through its own library, with its tokens, its cache and its own resuming."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["hf://"]

    def _get_local_path(self, path: str, force: bool = False, *, part: Path, progress: bool) -> str:
        try:
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
        except ImportError as error:
            raise WeightsError(f'{path} needs Hugging Face\'s library: pip install "pv-sparse[hf]"') from error
        found = re.fullmatch(r"hf://([^/@]+/[^/@]+)(?:@([^/]+))?/(.+)", path)
        if found is None:
            raise WeightsError(
                f"{path}: an address of the hub is hf://owner/repo/file, or hf://owner/repo@revision/file"
            )
        try:
            cached = hf_hub_download(found[1], found[3], revision=found[2])
        except (HfHubHTTPError, EntryNotFoundError, HFValidationError) as error:
            raise WeightsError(f"{path}: {one_line(error)}") from error
        shutil.copyfile(cached, part)
        return str(part)


class _Cut(HTTPException):
    """The connection ended before the file did."""


class _Beginning(NamedTuple):
    """What an earlier try left: so many bytes of so many (0: not known), of the version that `validator` names."""

    size: int = 0
    total: int = 0
    validator: str = ""


def _request_rest(url: str, part: Path, progress: bool) -> None:
    """One request, for what is missing of the file."""
    begun = _beginning(part, url)
    headers = {"User-Agent": f"pv_sparse/{__version__}", "Accept-Encoding": "identity"}
    if begun.size:
        headers["Range"] = f"bytes={begun.size}-"
    if begun.size and begun.validator:
        headers["If-Range"] = begun.validator
    try:
        with urlopen(Request(url, headers=headers), timeout=SILENCE_SECONDS) as response:  # noqa: S310  # by HttpHandler
            _receive(response, url, part, begun, progress)
    except HTTPError as error:
        error.close()
        if error.code != 416 or not begun.size:
            raise
        # Nothing comes after the last byte: the file is whole, unless it is another one by now.
        if begun.size != begun.total:
            forget(part)
            raise _Cut("what had come is not of the file that is there now") from error


def _receive(response: HTTPResponse, url: str, part: Path, begun: _Beginning, progress: bool) -> None:
    start, total = _range(response)
    if start not in (0, begun.size) or (start and begun.total and total != begun.total):
        forget(part)
        raise _Cut("the server sent another part than was asked for")
    _check_space(part, total - start)
    note = {"url": url, "total": total, "validator": _validator(response)}
    first = response.read(SNIFFED_BYTES)
    if start == 0 and is_web_page(first):
        raise WeightsError(f"{url}: the answer is a web page, not a file (of a login, a quota, or an error)")
    _note_path(part).write_text(json.dumps(note), encoding="utf-8")
    with part.open("r+b" if start else "wb") as out, _bar(part, start, total, progress) as bar:
        out.seek(start)
        for chunk in _chunks(first, response):
            out.write(chunk)
            bar.update(len(chunk))
        received = out.tell()
    if total and received != total:
        raise _Cut(f"the connection ended after {received} of {total} bytes")


def _chunks(first: bytes, response: HTTPResponse) -> Iterator[bytes]:
    chunk = first
    while chunk:
        yield chunk
        chunk = response.read1(CHUNK_BYTES)  # what is there: nothing is lost where the next byte never comes


def _bar(part: Path, start: int, total: int, progress: bool) -> "tqdm[Any]":
    name = part.name.removesuffix(".part")
    return tqdm(initial=start, total=total or None, desc=name, unit="B", unit_scale=True, disable=not progress)


def _range(response: HTTPResponse) -> tuple[int, int]:
    """(the first byte that comes, the size of the whole file or 0)."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return (int(found[1]), int(found[2])) if found else (-1, 0)
    return 0, int(response.headers.get("Content-Length") or 0)


def _validator(response: HTTPResponse) -> str:
    """What names this version of the file; weak tags do not promise the same bytes."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _beginning(part: Path, url: str) -> _Beginning:
    """What can be resumed; nothing where no note says that it is from this address."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(_note_path(part).read_text(encoding="utf-8"))
        if note["url"] == url:
            return _Beginning(part.stat().st_size, int(note["total"]), str(note["validator"]))
    return _Beginning()


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


def _check_passing(url: str, error: Exception) -> None:
    """Errors that will be the same a moment later are raised."""
    reason = getattr(error, "reason", None)
    is_final = isinstance(error, HTTPError) and error.code not in PASSING
    if is_final or isinstance(reason, ssl.SSLCertVerificationError):
        raise WeightsError(f"{url}: {_told(error)}") from error


def _told(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server answered {error.code} ({error.reason})"
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return f"nothing came for {SILENCE_SECONDS:g} seconds"
    return str(getattr(error, "reason", None) or error or type(error).__name__)
