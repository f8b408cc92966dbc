"""`pv-sparse watch`: a stream, a model that looks on, and where its answers go."""

import math
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import click
from torch import nn

from pv_sparse.cli_options import needs_extra
from pv_sparse.errors import PvSparseError, one_line
from pv_sparse.recognition import DEFAULT_WEIGHTS, checked_device, default_device, optimized
from pv_sparse.watch.clocks import Clock
from pv_sparse.watch.lines import LineFile, LinePrinter, Teller
from pv_sparse.watch.observers import Observer
from pv_sparse.watch.overlay import Overlay
from pv_sparse.watch.reading import Reader, Reading
from pv_sparse.watch.sources import Source, parse_source
from pv_sparse.watch.stopping import Stops, tell_error
from pv_sparse.watch.watching import Counts, Names, OnlineModel, watch
from pv_sparse.zoo.loading import find_weights, load_model


@dataclass(frozen=True)
class WatchOptions:
    """The options of `pv-sparse watch`, by their names there.

    Raises:
        ValueError: `fps` or `timeout` is not finite.
    """

    weights: str | None = None
    top_k: int = 5
    memory: str | None = None
    fps: float = 8.0
    realtime: bool = False
    output: str | None = None
    overlay: str | None = None
    timeout: float = 10.0
    reconnects: int = 10
    serve: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    device: str | None = None
    precision: str | None = None
    compiled: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("fps", "frames a second, or 0 for all"), ("timeout", "seconds")):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"--{name} {value} is not allowed: give a finite number of {allowed}")


def run(source: str, options: WatchOptions, clock: Clock | None = None) -> None:
    """Watch until the stream ends or the program is told to stop.

    Raises:
        FileNotFoundError, PvSparseError: a source that is not there or no video, a stream that broke off for good, an
            output that is there already or cannot be written, two outputs in one file.
        SystemExit: Ctrl-C or SIGTERM came; what was written is whole.
    """
    clock = clock or Clock()
    watched = parse_source(source)
    _check_outputs(options)
    with ExitStack() as stack:
        stops = stack.enter_context(Stops(clock))
        observers = _observers(options, watched.name, stack)
        model, weights = load_online(options)
        stops.defer()
        _watch(watched, model, observers, Names(watched.name, weights, options.top_k), options, clock)


def _check_outputs(options: WatchOptions) -> None:
    output, overlay = options.output, options.overlay
    if output and overlay and Path(output).resolve() == Path(overlay).resolve():
        raise PvSparseError(f"--output {output} and --overlay {overlay} are the same file: choose another name for one")


def load_online(options: WatchOptions) -> tuple[OnlineModel, str]:
    """The recogniser, and the name of its weights.

    Raises:
        PvSparseError: weights that are unknown, or that cannot be read while a stream comes; a memory that does not
            take as many frames as they read.
    """
    from pv_sparse.online import OnlineRecognizer

    device = checked_device(default_device(options.device))
    weights = find_weights(options.weights or DEFAULT_WEIGHTS)
    loaded = load_model(weights, device=device)
    _check_memory(loaded, options.memory, weights.name)
    model = optimized(loaded, options.precision, options.compiled)
    if optimization := getattr(model, "optimization", None):
        click.echo(optimization, err=True)
    return OnlineRecognizer(model, weights=weights, memory=options.memory, device=device), weights.name


def _check_memory(model: nn.Module, memory: str | None, weights: str) -> None:
    """`OnlineRecognizer` would speak of an argument that is no option here."""
    from pv_sparse.online.arguments import DEFAULT_NUM_FRAMES
    from pv_sparse.online.memories import create_memory

    num_frames = getattr(model, "num_segments", None) or DEFAULT_NUM_FRAMES
    try:
        create_memory(memory or "window", num_frames)
    except ValueError as error:
        told = f"--memory {memory} does not take the {num_frames} frames at a time of {weights}"
        raise PvSparseError(f"{told}: try another memory, such as window, or other weights") from error


class _Closing(AbstractContextManager[None]):
    """Closes an observer; an error on the way is only told where another one ended the watch."""

    def __init__(self, observer: Observer):
        self._observer = observer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._observer.close()
        except Exception as second:
            if error is None:
                raise
            tell_error(second)


def _observers(options: WatchOptions, source: str, stack: ExitStack) -> list[Observer]:
    """Those that were asked for; `stack` closes them, whatever happens."""
    observers: list[Observer] = []

    def add(observer: Observer) -> None:
        stack.enter_context(_Closing(observer))
        observers.append(observer)

    if options.serve:
        with needs_extra("app"):
            from pv_sparse.watch.page import PageObserver

        weights = find_weights(options.weights or DEFAULT_WEIGHTS)
        add(stack.enter_context(PageObserver(options.host, options.port, source, weights.name)))
    add(Teller())
    add(LineFile(options.output) if options.output else LinePrinter())
    if options.overlay:
        add(Overlay(options.overlay, options.fps, lambda message: click.echo(message, err=True)))
    return observers


def _watch(
    source: Source, model: OnlineModel, observers: list[Observer], names: Names, options: WatchOptions, clock: Clock
) -> None:
    reading = Reading(options.timeout, options.reconnects, options.fps, options.realtime)
    counts = Counts()
    try:
        with Reader(source, reading, clock) as reader:
            watch(reader, model, observers, names, clock, counts)
    except BrokenPipeError:
        raise  # whoever read the lines has seen enough
    except Exception as error:
        for observer in observers:
            if not isinstance(observer, Teller):  # on standard error it is the last line
                observer.told(one_line(error))
        if reader.num_frames:
            click.echo(_summary(names.source, reader, counts), err=True)
        raise
    click.echo(_summary(names.source, reader, counts), err=True)


def _summary(source: str, reader: Reader, counts: Counts) -> str:
    dropped = reader.mailbox.dropped
    why = " because the model was too slow" if dropped else ""
    looked = f"{counts.looked_at} of {reader.num_frames} frames looked at, {counts.answers} predictions"
    return f"{source}: {looked}, {dropped} dropped{why}"
