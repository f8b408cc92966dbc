"""Where the file of some weights lies, whether it is the right one, and how it comes here.

Searched in this order: the installed package that brings it; `$PV_SPARSE_HOME/weights` (by default
`~/.cache/pv_sparse/weights`), where downloads go; `$TORCH_HOME/hub/checkpoints`; the mirror, where `PV_SPARSE_MIRROR`
is a folder. What is not there is downloaded: from the mirror, where it is an address, then from its own addresses;
with `PV_SPARSE_OFFLINE=1` over no network.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import files as files_of_package
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit
from urllib.request import url2pathname

from pv_sparse.errors import WeightsError
from pv_sparse.zoo.download import download, file_name_of, hash_in_name, verify

logger = logging.getLogger(__name__)
HOME, MIRROR, OFFLINE = "PV_SPARSE_HOME", "PV_SPARSE_MIRROR", "PV_SPARSE_OFFLINE"


def find(file: Mapping[str, Any]) -> Path | None:
    """The path of a zoo record's `file`, not verified, or None where it is not here."""
    return next((path for path in _places(file) if path.is_file()), None)


def require(file: Mapping[str, Any], weights_name: str, progress: bool = True) -> Path:
    """The verified file, downloaded where it is not here.

    Raises:
        WeightsError: says how to get a file that is missing, and why one that is here, or comes, is not taken.
    """
    if "path" in file and not Path(file["path"]).is_file():
        raise WeightsError(f"{file['path']}: no such weights file")
    damaged = None
    for path in filter(Path.is_file, _places(file)):
        try:
            verify(path, file.get("sha256"), file.get("size"))
        except WeightsError as error:
            damaged = error
            logger.warning("%s", error)
        else:
            return path
    if "urls" not in file:
        raise damaged or WeightsError(
            f'the file of {weights_name} comes with a package: pip install "pv-sparse[{file["extra"]}]"'
        )
    return _fetch(file, weights_name, progress)


def require_address(address: str, progress: bool = True) -> Path:
    """The file of an address that is in no zoo: `https://`, `file://` or `hf://owner/repo/file`, kept in the cache.

    It is verified where its hash is known: from `#sha256=...` behind the address, or from its name
    (`model-1a2b3c4d.pth`, in the way of torch's hub).

    Raises:
        WeightsError: it could not be had.
    """
    url, fragment = urldefrag(address)
    if fragment and not re.fullmatch(r"sha256=[0-9a-f]{8,64}", fragment):
        raise WeightsError(f"{address}: behind # an address may have sha256= and 8 to 64 hexadecimal digits, no more")
    name = file_name_of(url)
    sha256 = fragment.removeprefix("sha256=") or hash_in_name(name)
    # Files of different addresses may have one name: `model.safetensors`.
    own_name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"
    return require({"urls": [url], "name": own_name, "sha256": sha256}, address, progress)


def is_offline() -> bool:
    """Whether `PV_SPARSE_OFFLINE` forbids the network."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


def name_of(file: Mapping[str, Any]) -> str:
    """What the file is called in the cache and in a mirror."""
    return file_name_of(file.get("name") or file["urls"][0])


def cache_folder() -> Path:
    """Where downloaded weights are kept."""
    return Path(os.environ.get(HOME) or _users_cache() / "pv_sparse").expanduser() / "weights"


def torch_folder() -> Path:
    """`torch.hub.get_dir()/checkpoints`, which is looked into too; without importing torch."""
    return Path(os.environ.get("TORCH_HOME") or _users_cache() / "torch").expanduser() / "hub" / "checkpoints"


def _fetch(file: Mapping[str, Any], weights_name: str, progress: bool) -> Path:
    name, urls = name_of(file), [*_mirrored(file), *file["urls"]]
    if is_offline():
        urls = [url for url in urls if url.startswith("file://")]
        if not urls:
            raise WeightsError(
                f"the file of {weights_name} is not here, and {OFFLINE} forbids downloads: put {name} into "
                f"{cache_folder()}, or set {MIRROR} to a folder that has it"
            )
    return download(urls, cache_folder() / name, file.get("sha256"), file.get("size"), progress)


def _mirrored(file: Mapping[str, Any]) -> list[str]:
    mirror = os.environ.get(MIRROR, "")
    return [f"{mirror.rstrip('/')}/{name_of(file)}"] if "://" in mirror and not _mirror_folder() else []


def _mirror_folder() -> Path | None:
    mirror = os.environ.get(MIRROR, "")
    if mirror.startswith("file://"):
        return Path(url2pathname(urlsplit(mirror).path))
    return Path(mirror).expanduser() if mirror and "://" not in mirror else None


def _places(file: Mapping[str, Any]) -> Iterator[Path]:
    if "path" in file:
        yield Path(file["path"])
    elif "package" in file:
        yield from _files_of_package(file)
    else:
        folders = (cache_folder(), torch_folder(), _mirror_folder())
        yield from (folder / name_of(file) for folder in folders if folder is not None)


def _files_of_package(file: Mapping[str, Any]) -> Iterator[Path]:
    try:
        listed = files_of_package(file["package"]) or []
    except PackageNotFoundError:
        return
    yield from (Path(str(entry.locate())) for entry in listed if entry.name == file["name"])


def _users_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
