"""Bytes from an address into a file that is not finished yet: over HTTP, from Hugging Face's hub, or from a file.

`PATHS`, an iopath `PathManager` of our own, tells the schemes apart. What arrives is verified in
`pv_sparse.zoo.download`.
"""

import re
import shutil
from pathlib import Path

from iopath.common.file_io import PathHandler, PathManager

from pv_sparse.errors import WeightsError, one_line
from pv_sparse.zoo.addresses import check_address, local_path
from pv_sparse.zoo.http_transfer import CHUNK_BYTES, HttpHandler, forget

HUB_ADDRESS = re.compile(r"hf://([^/@]+/[^/@]+)(?:@([^/]+))?/(.+)")


def transfer(url: str, part: Path, progress: bool = True, is_checked: bool = False) -> None:
    """Fill `part` with what `url` serves; where an earlier try left a beginning there, with the rest.

    Args:
        url: `http://`, `https://`, `file://`, or `hf://owner/repo[@revision]/file`.
        part: kept where the transfer breaks off, with a note of where it is from in `part.json`.
        progress: whether to show a bar.
        is_checked: whether a hash is compared afterwards. If not, a beginning is only continued where the server says
            that the file is still the same.

    Raises:
        WeightsError: the address serves no such file, or could not be reached in several tries.
        OSError: `part` cannot be written.
    """
    check_address(url)
    PATHS.get_local_path(url, part=part, progress=progress, is_checked=is_checked)


def hub_file(address: str, is_offline: bool = False) -> Path:
    """A file of Hugging Face's hub in that library's own cache, with its tokens and its resuming.

    Raises:
        WeightsError: no such file; another form of address; the library is missing.
    """
    found = HUB_ADDRESS.fullmatch(address)
    if found is None:
        raise WeightsError(
            f"{address}: an address of the hub is hf://owner/repo/file, or hf://owner/repo@revision/file"
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise WeightsError(f'{address} needs Hugging Face\'s library: pip install "pv-sparse[hf]"') from error
    try:
        return Path(hf_hub_download(found[1], found[3], revision=found[2], local_files_only=is_offline))
    except (HfHubHTTPError, EntryNotFoundError, HFValidationError) as error:
        raise WeightsError(f"{address}: {one_line(error)}") from error


class FileHandler(PathHandler):
    """Copies files of this machine."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["file://"]

    def _get_local_path(self, path: str, force: bool = False, *, part: Path, progress: bool, is_checked: bool) -> str:
        return _copied(local_path(path), part, path)


class HubHandler(PathHandler):
    """Copies what Hugging Face's own library brought."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["hf://"]

    def _get_local_path(self, path: str, force: bool = False, *, part: Path, progress: bool, is_checked: bool) -> str:
        return _copied(hub_file(path), part, path)


def _copied(source: Path, part: Path, address: str) -> str:
    """What cannot be read is the address's fault, what cannot be written is not."""
    forget(part)
    try:
        content = source.open("rb")
    except OSError as error:
        raise WeightsError(f"{address}: it cannot be read ({one_line(error)})") from error
    with content, part.open("wb") as out:
        shutil.copyfileobj(content, out, CHUNK_BYTES)
    return str(part)


PATHS = PathManager()
for _handler in (HttpHandler(), FileHandler(), HubHandler()):
    PATHS.register_handler(_handler)
