"""Where `configs/` and `model_zoo/` lie: inside the package in a wheel, beside it in a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def resource_dir(name: str) -> Path:
    """The folder `name`; `FileNotFoundError` where an installation has lost it."""
    for parent in (PACKAGE, PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise FileNotFoundError(f"the folder {name}/ of pv_sparse is missing from {PACKAGE}: install the package again")
