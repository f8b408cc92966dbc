"""What a file is by its first bytes: tensors, or the web page that a server sent in their place."""

import contextlib
import re
import zipfile
from pathlib import Path

SNIFFED_BYTES = 512
WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype html|html)\b", re.IGNORECASE | re.DOTALL)
# torch's archives; pickles; safetensors, whose header follows its length.
TENSORS = re.compile(rb"PK\x03\x04|\x80[\x02-\x05]|.{8}\{", re.DOTALL)


def is_web_page(content: bytes | Path) -> bool:
    """Whether a file, or what one begins with, is HTML."""
    return bool(WEB_PAGE.match(_beginning(content)))


def is_tensor_file(content: bytes | Path) -> bool:
    """Whether a file, or what one begins with, may be one that `read_checkpoint` reads."""
    return bool(TENSORS.match(_beginning(content)))


def pickle_protocol(path: Path) -> int | None:
    """Of a file of `torch.save`, of today's kind or the old one; None for what is no such file."""
    beginning = _beginning(path)
    if beginning.startswith(b"PK"):
        # A damaged archive may raise any error.
        with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            beginning = archive.read(name)[:2]
    return beginning[1] if beginning.startswith(b"\x80") and len(beginning) > 1 else None


def _beginning(content: bytes | Path) -> bytes:
    if isinstance(content, bytes):
        return content
    with content.open("rb") as file:
        return file.read(SNIFFED_BYTES)
