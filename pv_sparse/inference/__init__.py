"""Models made fast for inference: `optimize`. Exported files are in `pv_sparse.inference.export`."""

from pv_sparse.inference.checking import Optimization
from pv_sparse.inference.optimizing import PRECISIONS, optimize

__all__ = ["PRECISIONS", "Optimization", "optimize"]
