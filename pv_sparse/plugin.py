"""Names of ours inside the host, by choice and for a time: `decoder="sparse"`, `make_clip_sampler("segment", ...)`.

Three functions of the host are replaced by ones that know our names and hand everything else on. What was there comes
back, unless somebody else has replaced it since.

Worker processes that start fresh (spawn, forkserver) do not inherit this. So while it is registered, a data set of the
host carries the registration with it when it is sent to one, and there it is registered before the data set is used.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pytorchvideo import data as host_data
from pytorchvideo.data import LabeledVideoDataset, clip_sampling
from pytorchvideo.data.clip_sampling import ClipSampler
from pytorchvideo.data.encoded_video import EncodedVideo

from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.data.encoded_video import EncodedVideoSparse
from pv_sparse.data.factories import make_sendable

DECODER, SAMPLING = "sparse", "segment"


class _Registration:
    """How often it was asked for, and what was there before."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.count = 0
        self.replaced: list[tuple[ModuleType | type, str, Any, Any]] = []

    def replace(self, owner: ModuleType | type, name: str, wrap: Callable[[Any], Any]) -> None:
        before = vars(owner).get(name)
        ours = wrap(getattr(owner, name))
        setattr(owner, name, ours)
        self.replaced.append((owner, name, before, ours))

    def restore(self) -> None:
        for owner, name, before, ours in reversed(self.replaced):
            if vars(owner).get(name) is not ours:
                continue  # Somebody else's by now.
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self.replaced.clear()


_REGISTRATION = _Registration()


def register() -> None:
    """Have the host know `decoder="sparse"` and `make_clip_sampler("segment", num_segments, ...)`.

    Counted: as many `unregister()` undo it. Allowed from any thread.
    """
    with _REGISTRATION.lock:
        _REGISTRATION.count += 1
        if _REGISTRATION.count > 1:
            return
        _REGISTRATION.replace(EncodedVideo, "from_path", _wrap_from_path)
        for module in (host_data, clip_sampling):
            _REGISTRATION.replace(module, "make_clip_sampler", _wrap_make_clip_sampler)
        _REGISTRATION.replace(LabeledVideoDataset, "__reduce__", _wrap_reduce)


def unregister() -> None:
    """Undo one `register()`; without one, nothing happens."""
    with _REGISTRATION.lock:
        _REGISTRATION.count = max(0, _REGISTRATION.count - 1)
        if _REGISTRATION.count == 0:
            _REGISTRATION.restore()


@contextmanager
def registered() -> Iterator[None]:
    """`register()` for a block."""
    register()
    try:
        yield
    finally:
        unregister()


def _wrap_from_path(original: Any) -> "classmethod[EncodedVideo, ..., Any]":
    def from_path(
        cls: type[EncodedVideo], file_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> EncodedVideo | EncodedVideoSparse:
        if DECODER in (kwargs.get("decoder"), *args[-1:]):
            return EncodedVideoSparse(file_path)
        return original(file_path, *args, **kwargs)

    from_path.__doc__ = f"{original.__doc__}\n\nDecoder {DECODER!r}: that of pv_sparse."
    return classmethod(from_path)


def _wrap_make_clip_sampler(original: Callable[..., ClipSampler]) -> Callable[..., ClipSampler]:
    def make_clip_sampler(sampling_type: str, *args: Any) -> ClipSampler:
        return SegmentClipSampler(*args) if sampling_type == SAMPLING else original(sampling_type, *args)

    make_clip_sampler.__doc__ = f"{original.__doc__}\n\n{SAMPLING!r}: pv_sparse.SegmentClipSampler."
    return make_clip_sampler


def _wrap_reduce(original: Any) -> Callable[[LabeledVideoDataset], tuple[Any, ...]]:
    def __reduce__(self: LabeledVideoDataset) -> tuple[Any, ...]:  # noqa: N807
        make_sendable(self)
        return _registered_copy, (type(self),), dict(vars(self))

    return __reduce__


def _registered_copy(kind: type[LabeledVideoDataset]) -> LabeledVideoDataset:
    """In the process that receives a data set, before it is filled."""
    if _REGISTRATION.count == 0:
        register()
    return object.__new__(kind)
