"""The names that people type in recipes of the host, added while they are wanted and taken away without a trace.

While registered:

* `pytorchvideo.data.make_clip_sampler("segment", ...)` is `SegmentClipSampler(...)`, by position or by keyword;
* `decoder="sparse"` decodes with `SparseVideo`, in the host's datasets and in `EncodedVideo.from_path`; the host reads
  the file into memory first (`sparse_decoding(dataset)` does not);
* `pytorchvideo.models.hub` has the architectures of the zoo (`tsn_r50(pretrained=True)`, see `pv_sparse.zoo.hub`);
* PySlowFast, where it is installed, has them as `MODEL.MODEL_NAME`, and a data set `ptvsparse` (`pv_sparse.slowfast`);
* a `LabeledVideoDataset` with `decoder="sparse"` brings the registration along where it is pickled, so that workers
  which start afresh (spawn, forkserver) have it too. Without it the host would drop every video without a word.

The registration is needed for as long as such a dataset is read. What a program took before, as with
`from pytorchvideo.data import make_clip_sampler`, stays as it was: register first. Datasets of other kinds that open
videos with `decoder="sparse"` in spawned workers need a `register()` there: at the top of the program's module, or in a
`worker_init_fn`.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytorchvideo.data as host
from pytorchvideo.data import LabeledVideoDataset, clip_sampling, encoded_video
from pytorchvideo.data.clip_sampling import ClipSampler
from pytorchvideo.models import hub as host_hub

from pv_sparse import slowfast
from pv_sparse.data.clip_sampling import SegmentClipSampler
from pv_sparse.data.encoded_video import EncodedVideoSparse
from pv_sparse.errors import PvSparseError
from pv_sparse.zoo import hub

SAMPLER, DECODER = "segment", "sparse"


def register() -> None:
    """Add the names above. Calls are counted: as many `unregister()` take them away.

    Raises:
        PvSparseError: the host, or another plugin in it, has one of the names already.
    """
    with _state.lock:
        if not _state.count:
            entries = slowfast.entries()
            _check_free(entries)
            _state.patches = [_put(owner, name, wrap) for owner, name, wrap in _replacements()]
            _state.patches += [_enter(registry, name, obj) for registry, name, obj in entries]
        _state.count += 1


def unregister() -> None:
    """Undo one `register()`; the last one gives the host its own objects back. Without any, nothing happens."""
    with _state.lock:
        _state.count = max(0, _state.count - 1)
        if not _state.count:
            for patch in _state.patches:
                patch.undo()
            _state.patches = []


@contextmanager
def registered() -> Iterator[None]:
    """`register()` for the time of a `with` block."""
    register()
    try:
        yield
    finally:
        unregister()


class _Patch(NamedTuple):
    owner: Any
    name: str
    original: Any  # None where the owner had no such attribute of its own
    ours: Any

    def undo(self) -> None:
        """Only where ours is still in place: somebody who wrapped it since keeps theirs, around an idle one of ours."""
        if vars(self.owner).get(self.name) is not self.ours:
            return
        if self.original is None:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)


class _Entry(NamedTuple):
    """A name in a registry of fvcore, which knows no way to take it out again."""

    registry: Any
    name: str
    ours: Any

    def undo(self) -> None:
        if self.registry._obj_map.get(self.name) is self.ours:
            del self.registry._obj_map[self.name]


class _State:
    """The host's modules are one for all threads of a process, and so is this."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.count = 0
        self.patches: list[_Patch | _Entry] = []


_state = _State()


def _replacements() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    return [
        (host, "make_clip_sampler", _with_segment),
        (clip_sampling, "make_clip_sampler", _with_segment),
        (encoded_video, "select_video_class", _with_sparse),
        (LabeledVideoDataset, "__reduce_ex__", _with_registration),
        *((host_hub, name, functools.partial(_of_zoo, name)) for name in hub.__all__),
    ]


def _put(owner: Any, name: str, wrap: Callable[[Any], Any]) -> _Patch:
    original = vars(owner).get(name)
    ours = wrap(getattr(owner, name, None))
    setattr(owner, name, ours)
    return _Patch(owner, name, original, ours)


def _enter(registry: Any, name: str, ours: Any) -> _Entry:
    registry.register(ours)
    return _Entry(registry, name, ours)


def _check_free(entries: list[slowfast.Entry]) -> None:
    for call, name in (
        (clip_sampling.make_clip_sampler, SAMPLER),
        (host.make_clip_sampler, SAMPLER),
        (encoded_video.select_video_class, DECODER),
    ):
        if _knows(call, name):
            raise PvSparseError(
                f"{call.__module__}.{call.__name__} knows {name!r} already, and not from pv_sparse: nothing was "
                "changed; take SegmentClipSampler and sparse_decoding(dataset), which need no registration"
            )
    taken = [f"pytorchvideo.models.hub has {name}" for name in hub.__all__ if hasattr(host_hub, name)]
    taken += [f"PySlowFast's registry has {name}" for registry, name, _ in entries if name in registry]
    if taken:
        raise PvSparseError(
            f"{taken[0]} already, and not from pv_sparse: nothing was changed; take pv_sparse.zoo.hub and "
            "pv_sparse.data, which need no registration"
        )


def _knows(call: Callable[[str], Any], name: str) -> bool:
    """A name that is known gives an object, or an error about arguments that lack."""
    try:
        call(name)
    except (NotImplementedError, KeyError, ValueError):
        return False
    except TypeError:
        return True
    return True


def _with_segment(original: Callable[..., ClipSampler]) -> Callable[..., ClipSampler]:
    @functools.wraps(original)
    def make_clip_sampler(sampling_type: str, *args: Any, **arguments: Any) -> ClipSampler:
        if sampling_type == SAMPLER and _state.count:
            return SegmentClipSampler(*args, **arguments)
        return original(sampling_type, *args, **arguments)

    return make_clip_sampler


def _with_sparse(original: Callable[[str], Any]) -> Callable[[str], Any]:
    @functools.wraps(original)
    def select_video_class(decoder: str) -> Any:
        return EncodedVideoSparse if decoder == DECODER and _state.count else original(decoder)

    return select_video_class


def _of_zoo(name: str, original: None) -> Callable[..., Any]:
    return getattr(hub, name)


def _with_registration(original: Callable[..., Any]) -> Callable[..., Any]:
    def __reduce_ex__(dataset: Any, protocol: int) -> Any:  # noqa: N807
        reduced = original(dataset, protocol)
        if dataset._decoder != DECODER or not _state.count:
            return reduced
        build, arguments, *rest = reduced
        return _build_registered, (build, arguments), *rest

    return __reduce_ex__


def _build_registered(build: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Where a dataset that needs the names is unpickled, they are there."""
    with _state.lock:
        if not _state.count:
            register()
    return build(*arguments)
