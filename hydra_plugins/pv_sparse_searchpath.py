"""Shows configs/host/ of pv_sparse to every Hydra program of the environment, and nothing else of it.

Hydra imports this module in each of them, so it imports neither torch nor pv_sparse.
"""

from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class PvSparseSearchPath(SearchPathPlugin):
    """Appends the folder, so that the program's own configurations go before ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        folder = host_configs()
        if folder is not None:
            search_path.append(provider="pv_sparse", path=f"file://{folder}")


def host_configs() -> Path | None:
    """The folder: inside the package in a wheel, beside it in a checkout; None where pv_sparse is not installed."""
    spec = find_spec("pv_sparse")
    for package in map(Path, (spec and spec.submodule_search_locations) or ()):
        for parent in (package, package.parent):
            if (parent / "configs" / "host").is_dir():
                return parent / "configs" / "host"
    return None
