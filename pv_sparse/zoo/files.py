"""Where the file of some weights lies, whether it is the right one, and how it comes here.

Searched in this order: `model_zoo/` itself; the installed package that brings it; `$PV_SPARSE_HOME/weights` (by default
`~/.cache/pv_sparse/weights`), where downloads go; `$TORCH_HOME/hub/checkpoints`; the mirror, where `PV_SPARSE_MIRROR`
is a folder. What is not there is downloaded: from the mirror, where it is an address, then from its own addresses;
with `PV_SPARSE_OFFLINE=1` over no network.
"""

import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import files as files_of_package
from pathlib import Path
from typing import Any
from urllib.parse import quote, urldefrag

from pv_sparse.errors import WeightsError
from pv_sparse.resources import resource_dir
from pv_sparse.zoo.addresses import check_address, file_name_of, hash_in_name, is_address, local_path
from pv_sparse.zoo.download import download, verify

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
    damaged = None
    for path in filter(Path.is_file, _places(file)):
        try:
            verify(path, file.get("sha256"), file.get("size"))
        except WeightsError as error:
            damaged = error
            logger.warning("%s", error)
        else:
            return path
    if "urls" in file:
        return _fetch(file, weights_name, progress, damaged)
    raise damaged or WeightsError(_missing(file, weights_name))


def require_address(address: str, progress: bool = True) -> Path:
    """The file of an address that is in no zoo: `https://`, `file://` or `hf://owner/repo/file`.

    `file://` is read where it is; `hf://` is kept by Hugging Face's own library, which asks whether there is a newer
    one. A file of the web is kept as it first came: remove it from the cache to have it anew.

    It is verified where its hash is known: from `#sha256=...` behind the address, or from its name
    (`model-1a2b3c4d.pth`, in the way of torch's hub).

    Raises:
        WeightsError: it could not be had.
    """
    url, fragment = urldefrag(address)
    check_address(url)
    given = re.fullmatch(r"sha256=([0-9a-f]{8,64})", fragment.lower())
    if fragment and given is None:
        raise WeightsError(f"{address}: behind # an address may have sha256= and 8 to 64 hexadecimal digits, no more")
    name = file_name_of(url)
    sha256 = given[1] if given else hash_in_name(name)
    try:
        return _address_file(url, name, sha256, progress)
    except WeightsError as error:
        if given is None and sha256 is not None and sha256 in str(error):
            advice = f"{sha256} is from its name: where that is no hash, give the right one as {url}#sha256=..."
            raise WeightsError(f"{error} ({advice})") from error
        raise


def _address_file(url: str, name: str, sha256: str | None, progress: bool) -> Path:
    if url.startswith("file://"):
        return require({"path": local_path(url), "sha256": sha256}, url)
    if url.startswith("hf://"):
        from pv_sparse.zoo.transfer import hub_file

        return require({"path": hub_file(url, is_offline()), "sha256": sha256}, url)
    # Files of different addresses may have one name: `model.safetensors`.
    own_name = f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"
    return require({"urls": [url], "name": own_name, "sha256": sha256}, url, progress)


def is_offline() -> bool:
    """Whether `PV_SPARSE_OFFLINE` forbids the network."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no", "off")


def name_of(file: Mapping[str, Any]) -> str:
    """What the file is called in the cache and in a mirror."""
    return file_name_of(file.get("name") or file.get("resource") or file["urls"][0])


def cache_folder() -> Path:
    """Where downloaded weights are kept."""
    return Path(os.environ.get(HOME) or _users_cache() / "pv_sparse").expanduser() / "weights"


def torch_folder() -> Path:
    """`torch.hub.get_dir()/checkpoints`, which is looked into too; torch is not imported for it."""
    hub = sys.modules.get("torch.hub")
    if hub is not None:
        return Path(hub.get_dir()) / "checkpoints"
    return Path(os.environ.get("TORCH_HOME") or _users_cache() / "torch").expanduser() / "hub" / "checkpoints"


def _fetch(file: Mapping[str, Any], weights_name: str, progress: bool, damaged: WeightsError | None) -> Path:
    urls = [*_mirrored(file), *file["urls"]]
    if is_offline():
        urls = [url for url in urls if url.startswith("file://")]
        if not urls:
            state = f"damaged ({damaged})" if damaged else "not here"
            raise WeightsError(
                f"the file of {weights_name} is {state}, and {OFFLINE} forbids downloads: put {name_of(file)} into "
                f"{cache_folder()}, or set {MIRROR} to a folder that has it"
            )
    try:
        return download(urls, cache_folder() / name_of(file), file.get("sha256"), file.get("size"), progress)
    except WeightsError as error:
        if damaged is None:
            raise
        raise WeightsError(f"{error} ({damaged})") from error


def _missing(file: Mapping[str, Any], weights_name: str) -> str:
    if "path" in file:
        return f"{file['path']}: no such weights file"
    if "resource" in file:
        place = resource_dir("model_zoo") / file["resource"]
        return f"{place}: the file of {weights_name} is missing from this installation: install pv-sparse anew"
    if "package" in file:
        return f'the file of {weights_name} comes with a package: pip install "pv-sparse[{file["extra"]}]"'
    return f"the record of {weights_name} names no file"


def _mirrored(file: Mapping[str, Any]) -> list[str]:
    mirror = os.environ.get(MIRROR, "")
    is_remote = is_address(mirror) and _mirror_folder() is None
    return [f"{mirror.rstrip('/')}/{quote(name_of(file))}"] if is_remote else []


def _mirror_folder() -> Path | None:
    mirror = os.environ.get(MIRROR, "")
    if mirror.startswith("file://"):
        return local_path(mirror)
    return Path(mirror).expanduser() if mirror and not is_address(mirror) else None


def _places(file: Mapping[str, Any]) -> Iterator[Path]:
    if "path" in file:
        yield Path(file["path"])
    elif "resource" in file:
        yield resource_dir("model_zoo") / file["resource"]
    elif "package" in file:
        yield from _files_of_package(file)
    elif "urls" in file:
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
