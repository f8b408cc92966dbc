"""What can be watched: a file, a camera, an address, standard input; told apart by how it is written."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pv_sparse.errors import PvSparseError, VideoDecodeError

FILE, CAMERA, ADDRESS, STANDARD_INPUT = "file", "camera", "address", "standard input"
# FFmpeg's name of the cameras of an operating system, by the start of sys.platform.
CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}

MASKED_KEYS = "token|password|passwd|pass|pwd|secret|key|auth|authorization|signature|sig"


@dataclass(frozen=True)
class Source:
    """What is watched.

    Attributes:
        kind: `FILE`, `CAMERA`, `ADDRESS` or `STANDARD_INPUT`.
        name: as it was given, but what is secret in an address is `***`, - is "standard input", and a camera's number
            the path of its device, where it has one.
        address: what FFmpeg opens.
        format: FFmpeg's name of the camera's interface; None elsewhere, where FFmpeg finds out.
    """

    kind: str
    name: str
    address: str
    format: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether it goes on while nobody reads, and is worth another try when it breaks off."""
        return self.kind in (CAMERA, ADDRESS)


def parse_source(given: str) -> Source:
    """The source that a user wrote.

    `-` is standard input; a number, or a path that starts with /dev/video, is a camera; what has :// is an address;
    the rest are files, and so is ./0.

    Raises:
        FileNotFoundError: there is no such file, or camera.
        PvSparseError: a folder, an empty file, a terminal.
    """
    if given == "-":
        return _standard_input()
    if given.isdecimal() or given.startswith("/dev/video"):
        return _camera(given)
    if "://" in given and not given.startswith("file://"):
        return Source(ADDRESS, _without_secrets(given), given)
    return _file(given, given.removeprefix("file://"))


def _without_secrets(address: str) -> str:
    """A password may hold any sign but a slash; a key in the query may end in one of `MASKED_KEYS`."""
    address = re.sub(r"(?<=://)([^/@:]*):[^/]*@", r"\1:***@", address)
    return re.sub(rf"(?i)([?&;][^=&;/]*(?:{MASKED_KEYS})=)[^&;#]+", r"\1***", address)


def _standard_input() -> Source:
    if sys.stdin is None or sys.stdin.closed:
        raise PvSparseError("standard input is closed: pipe a video into it, or name a file, a camera, an address")
    if sys.stdin.isatty():
        raise PvSparseError("standard input is a terminal: pipe a video into it, or name a file, a camera, an address")
    return Source(STANDARD_INPUT, STANDARD_INPUT, "-")


def _file(given: str, path: str) -> Source:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{given}: no such file")
    if os.path.isdir(path):
        raise VideoDecodeError(given, "it is a folder, not a video file")
    if Path(path).is_file() and os.path.getsize(path) == 0:  # a named pipe has no size either
        raise VideoDecodeError(given, "the file is empty")
    return Source(FILE, given, f"file:{path}")  # FFmpeg would take the start of a:b.mp4 for a protocol


def _camera(given: str, platform: str = sys.platform) -> Source:
    name = CAMERA_FORMATS.get(platform)
    if name is None:
        raise PvSparseError(f"{given}: cameras are known on {', '.join(CAMERA_FORMATS)}, not on {platform}")
    if name == "v4l2":
        path = f"/dev/video{given}" if given.isdecimal() else given
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: no such camera: see ls /dev/video*")
        return Source(CAMERA, path, path, name)
    return Source(CAMERA, given, _dshow_address(int(given)) if name == "dshow" else given, name)


def _dshow_address(number: int) -> str:
    """Windows names its cameras; the number is the place in its list."""
    from av.device import enumerate_input_devices  # PyAV before 17 has none

    cameras = [device for device in enumerate_input_devices("dshow") if "video" in device.media_types]
    if number >= len(cameras):
        raise FileNotFoundError(f"{number}: no such camera: there are {len(cameras)}, counted from 0")
    return f"video={cameras[number].name}"
