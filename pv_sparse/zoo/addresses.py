"""Addresses of files: what they end in, and where on this machine they are."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from pv_sparse.errors import WeightsError

SCHEMES = ("http", "https", "file", "hf")
LONGEST_NAME = 200  # file systems take 255 bytes; `.part.json` and a prefix are added
# `resnet50-11ad3fa6.pth`: the convention of torch's hub. Eight decimal digits are rather a date.
HASH_IN_NAME = re.compile(r"-(?!\d{8}\.)([0-9a-f]{8})\.(?:pth\.tar|pth|pt|safetensors)$")


def is_address(text: str) -> bool:
    """Whether it is an address rather than a path or a name."""
    return "://" in text


def check_address(address: str) -> None:
    """`WeightsError` for what cannot be asked for."""
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname) or parts.scheme == "file"
    except ValueError as error:
        raise WeightsError(f"{address}: it is no address ({error})") from error
    if parts.scheme not in SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise WeightsError(f"{address}: addresses of files begin with one of {schemes}")
    if not has_host:
        raise WeightsError(f"{address}: it names no host")


def local_path(address: str) -> Path:
    """Of a `file://` address; `WeightsError` where that names another machine."""
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost"):
        raise WeightsError(
            f"{address}: {parts.netloc!r} stands where a machine is named: write file:/// and the whole path"
        )
    return Path(url2pathname(parts.path))


def quoted(address: str) -> str:
    """With what may not stand in a request, such as blanks and umlauts, in its %-form."""
    return quote(address, safe="%/:=&?~#+!$,;'@()*[]")


def shown(address: str) -> str:
    """Without its query, which may hold a token."""
    return address.partition("?")[0]


def file_name_of(address: str) -> str:
    """The last part of an address, or of a path, as a name that stays inside a folder."""
    path = urlsplit(address).path if is_address(address) else address
    name = PureWindowsPath(PurePosixPath(unquote(path)).name).name
    if name in ("", ".", "..") or "\0" in name:
        raise WeightsError(f"{address}: it does not end in the name of a file")
    if len(name.encode(errors="surrogatepass")) > LONGEST_NAME:
        raise WeightsError(f"{address}: the name of the file has more than {LONGEST_NAME} bytes")
    return name


def hash_in_name(name: str) -> str | None:
    """The first digits of the SHA-256 that a file's name carries, in the way of torch's hub."""
    found = HASH_IN_NAME.search(name)
    return found[1] if found else None
