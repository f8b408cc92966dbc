"""A file from the first of its addresses that has it: verified before it gets its name, one process at a time."""

import errno
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

from pv_sparse.errors import WeightsError, one_line

# `resnet50-11ad3fa6.pth`: the convention of torch's hub; mmaction2's files keep it behind a date.
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.(?:pth\.tar|pth|pt|safetensors)$")


def download(
    urls: Sequence[str], destination: Path, sha256: str | None = None, size: int | None = None, progress: bool = True
) -> Path:
    """Bring a file here, and return `destination`.

    An earlier download that broke off is resumed. While another process downloads the same file this one waits, and
    takes what that one got.

    Args:
        urls: tried in this order, as `pv_sparse.zoo.transfer` knows them.
        destination: its folder is made. Beside it lie `.part` while the file is not whole, and `.lock`.
        sha256: of the file, or its first digits; None where none is known.
        size: in bytes, where it is known.
        progress: whether to show a bar.

    Raises:
        WeightsError: no address gave the file, each with its reason; or the folder cannot be written.
    """
    from iopath.common.file_io import file_lock
    from portalocker import LockException

    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(str(destination)):
            return _first_that_serves(urls, destination, sha256, size, progress)
    except LockException as error:
        raise WeightsError(f"{destination}: another process has held it for an hour: stop it, or try again") from error
    except OSError as error:
        raise WeightsError(_told(error, destination)) from error


def verify(path: Path, sha256: str | None, size: int | None = None) -> None:
    """Compare a file with what is published of it; `WeightsError` says what differs."""
    difference = _difference(path, sha256, size)
    if difference:
        raise WeightsError(f"{path}: {difference}: the file is damaged, get it again")


def file_name_of(address: str) -> str:
    """The last part of an address, or of a path, as a name that stays inside a folder."""
    path = urlsplit(address).path if "://" in address else address
    name = PureWindowsPath(PurePosixPath(unquote(path)).name).name
    if name in ("", ".", "..") or "\0" in name:
        raise WeightsError(f"{address}: it does not end in the name of a file")
    return name


def hash_in_name(name: str) -> str | None:
    """The first digits of the SHA-256 that a file's name carries, in the way of torch's hub."""
    found = HASH_IN_NAME.search(name)
    return found[1] if found else None


def _first_that_serves(
    urls: Sequence[str], destination: Path, sha256: str | None, size: int | None, progress: bool
) -> Path:
    if destination.is_file() and not _difference(destination, sha256, size):
        return destination  # of the process that held the lock before
    from pv_sparse.zoo.transfer import forget

    part = destination.with_name(f"{destination.name}.part")
    faults = []
    for url in urls:
        try:
            _transfer_verified(url, part, sha256, size, progress)
        except WeightsError as error:
            faults.append(str(error))
            continue
        os.replace(part, destination)
        forget(part)
        return destination
    raise WeightsError(
        f"{destination.name} could not be had: {'; '.join(faults)}. Put the file into {destination.parent} by hand, or "
        "set PV_SPARSE_MIRROR to an address or a folder that has it"
    )


def _transfer_verified(url: str, part: Path, sha256: str | None, size: int | None, progress: bool) -> None:
    """What was resumed and is wrong may have begun as another file: then once more, from the start."""
    from pv_sparse.zoo.transfer import forget, transfer

    was_begun = part.is_file()
    transfer(url, part, progress)
    difference = _difference(part, sha256, size)
    if difference:
        forget(part)
        if not was_begun:
            raise WeightsError(f"{url} serves another file than was published: {difference}")
        _transfer_verified(url, part, sha256, size, progress)


def _difference(path: Path, sha256: str | None, size: int | None) -> str:
    found = path.stat().st_size
    if size is not None and found != size:
        return f"it has {found} bytes, not {size}"
    if not sha256:
        return ""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return "" if digest.startswith(sha256) else f"its sha256 begins {digest[:8]}, not {sha256[:8]}"


def _told(error: OSError, destination: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk of {destination.parent} is full, {destination.name} is not whole: make room and try again, "
            "which goes on where it stopped, or set PV_SPARSE_HOME to a folder on another disk"
        )
    return (
        f"{destination.parent} cannot be written ({one_line(error)}): set PV_SPARSE_HOME to a folder that can, or put "
        f"{destination.name} there by hand"
    )
