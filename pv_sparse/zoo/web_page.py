"""Web pages that servers send, and people save, in the place of a file that is not there."""

import re
from pathlib import Path

SNIFFED_BYTES = 512
BEGINNING = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype html|html)\b", re.IGNORECASE | re.DOTALL)


def is_web_page(content: bytes | Path) -> bool:
    """Whether a file, or what one begins with, is HTML."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            content = file.read(SNIFFED_BYTES)
    return bool(BEGINNING.match(content))
