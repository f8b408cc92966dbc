"""A file from the first of its addresses that has it: verified before it gets its name, one process at a time."""

import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pv_sparse.errors import WeightsError, one_line
from pv_sparse.zoo.addresses import shown
from pv_sparse.zoo.file_kinds import is_tensor_file

logger = logging.getLogger(__name__)


def download(
    urls: Sequence[str], destination: Path, sha256: str | None = None, size: int | None = None, progress: bool = True
) -> Path:
    """Bring a file here, and return `destination`.

    An earlier download that broke off is resumed. While another process downloads the same file this one waits, and
    takes what that one got.

    Args:
        urls: tried in this order, as `pv_sparse.zoo.transfer` knows them.
        destination: its folder is made. Beside it lie `.part` while the file is not whole, and `.lock`.
        sha256: of the file, or its first digits; None where none is known. The file then has to begin as files of
            tensors do.
        size: in bytes, where it is known.
        progress: whether to show a bar.

    Raises:
        WeightsError: no address gave the file, each with its reason; or the folder cannot be written.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _locked(destination):
            return _first_that_serves(urls, destination, sha256, size, progress)
    except OSError as error:
        raise WeightsError(_told(error, destination)) from error


def verify(path: Path, sha256: str | None, size: int | None = None) -> None:
    """Compare a file with what is published of it; `WeightsError` says what differs."""
    difference = _difference(path, sha256, size)
    if difference:
        raise WeightsError(f"{path}: {difference}: the file is damaged, get it again")


@contextlib.contextmanager
def _locked(destination: Path) -> Iterator[None]:
    """iopath's lock of a file; it goes with the process that holds it."""
    from iopath.common.file_io import file_lock
    from portalocker import AlreadyLocked, LockException

    lock = file_lock(str(destination))
    try:
        try:
            lock.acquire(timeout=0, fail_when_locked=True)
        except AlreadyLocked:
            logger.warning("%s: waiting for another process that downloads it", destination.name)
            lock.acquire()
    except AlreadyLocked as error:
        raise WeightsError(f"{destination}: another process has held it for an hour: stop it, or try again") from error
    except LockException as error:
        raise WeightsError(
            f"{destination.parent}: its file system knows no locks ({one_line(error)}): set PV_SPARSE_HOME to a folder "
            "on another disk"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _first_that_serves(
    urls: Sequence[str], destination: Path, sha256: str | None, size: int | None, progress: bool
) -> Path:
    if destination.is_file() and not _difference(destination, sha256, size):
        return destination  # of the process that held the lock before
    from pv_sparse.zoo.http_transfer import forget

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
    from pv_sparse.zoo.http_transfer import forget
    from pv_sparse.zoo.transfer import transfer

    was_begun = part.is_file()
    transfer(url, part, progress, is_checked=sha256 is not None)
    fault = _difference(part, sha256, size)
    if fault:
        fault = f"another file than was published: {fault}"
    elif sha256 is None and not is_tensor_file(part):
        fault = "no file of tensors"
    if fault:
        forget(part)
        if not was_begun:
            raise WeightsError(f"{shown(url)} serves {fault}")
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
            f"the disk of {destination.parent} is full, {destination.name} is not whole: make room and try again, or "
            "set PV_SPARSE_HOME to a folder on another disk"
        )
    return (
        f"{destination.parent} cannot be written ({one_line(error)}): set PV_SPARSE_HOME to a folder that can, or put "
        f"{destination.name} there by hand"
    )
