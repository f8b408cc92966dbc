"""The repair of the host's imports on today's torchvision; free of torch and of the host until it is needed.

pytorchvideo 0.1.5 imports `torchvision.transforms.functional_tensor`, which torchvision removed in 0.17 (its code went
to `_functional_tensor`). A finder on `sys.meta_path` acts only while `pytorchvideo.transforms` is being imported: for
that time, and no longer, the old name stands for the new module. Other libraries see the true torchvision.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

BROKEN_PACKAGE = "pytorchvideo.transforms"
OLD_NAME = "torchvision.transforms.functional_tensor"
NEW_NAME = "torchvision.transforms._functional_tensor"
SWITCH = "PV_SPARSE_NO_COMPAT"


def repair_on_import() -> None:
    """Have `import pytorchvideo.transforms` work from now on; `PV_SPARSE_NO_COMPAT=1` leaves it alone."""
    if os.environ.get(SWITCH, "0") in ("", "0") and not is_repairing():
        sys.meta_path.insert(0, _TransformsFinder())


def is_repairing() -> bool:
    """Whether the finder is in place; found by name, so that reloading this module adds no second one."""
    return any(type(finder).__name__ == _TransformsFinder.__name__ for finder in sys.meta_path)


def needs_repair() -> bool:
    """Whether the installed torchvision lacks the module that the PyPI release of the host imports."""
    return importlib.util.find_spec(OLD_NAME) is None and importlib.util.find_spec(NEW_NAME) is not None


@contextmanager
def old_torchvision_name() -> Iterator[None]:
    """For the time of the block, `torchvision.transforms.functional_tensor` can be imported."""
    if not needs_repair():
        yield
        return
    sys.modules[OLD_NAME] = importlib.import_module(NEW_NAME)
    try:
        yield
    finally:
        del sys.modules[OLD_NAME]


class _TransformsFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != BROKEN_PACKAGE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _RepairingLoader(spec.loader)
        return spec


class _RepairingLoader(Loader):
    """Runs the package's own loader inside the alias, and leaves that loader on the module: no trace stays."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        with old_torchvision_name():
            self.loader.exec_module(module)
