"""The commands that run models: on files, on a stream, for other programs, and against the clock."""

import sys
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from pv_sparse.cli_options import DEBUG, debug_option, jobs_option, needs_extra

weights_option: Callable[[Any], Any] = click.option(
    "--weights", metavar="NAME_OR_PATH", help="Of the zoo, or a file. Default: tsn_efficientnet_lite0.in1k."
)
top_k_option: Callable[[Any], Any] = click.option(
    "--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Classes, best first."
)
device_option: Callable[[Any], Any] = click.option(
    "--device", help="Where the model runs. Default: cuda where torch sees a GPU, else cpu."
)
precision_option: Callable[[Any], Any] = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Optimise the model, and compute in this. Default: the model as it is.",
)
compile_option: Callable[[Any], Any] = click.option(
    "--compile", "compiled", is_flag=True, help="Optimise and compile it: a minute of waiting, then faster."
)


@click.command()
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO|DIR|LIST...")
@weights_option
@top_k_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--sheet", type=click.Path(dir_okay=False), metavar="OUT.png", help="Draw the frames and what they say.")
@click.option("--all-views", is_flag=True, help="All frames and crops of the published test, not one quick look.")
@click.option("--select", metavar="NAME", help="Choose frames: motion, diverse, saliency. Default: spread evenly.")
@click.option("--confidence", type=float, metavar="SCORE", help="Stop looking when the best class has this score.")
@click.option("--max-segments", type=int, metavar="N", help="With --confidence: look at so many at most. Default: 16.")
@click.option("--when", is_flag=True, help="Say at what times each class was seen; in a long video.")
@click.option("--output", type=click.Path(file_okay=False), metavar="DIR", help="Write Parquet files, in parallel.")
@click.option("--features", is_flag=True, help="With --output: write what the classifier reads, not classes.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Of --output.")
@click.option("--shard-size", type=click.IntRange(min=1), default=1000, show_default=True, help="Videos a file.")
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Videos shown at a time.")
@jobs_option
@device_option
@precision_option
@compile_option
@debug_option
@click.pass_context
def recognize(
    context: click.Context,
    videos: tuple[str, ...],
    weights: str | None,
    top_k: int,
    as_json: bool,
    sheet: str | None,
    all_views: bool,
    select: str | None,
    confidence: float | None,
    max_segments: int | None,
    when: bool,
    output: str | None,
    features: bool,
    engine: str,
    shard_size: int,
    batch_size: int,
    jobs: int,
    device: str | None,
    precision: str | None,
    compiled: bool,
) -> None:
    """Say what happens in videos: files, all videos below a folder, or those named in a text file.

    Each line of a text file (.txt, .csv, .lst, .list) names a video; a label after it is ignored.

    With --output, many videos go through decoding processes and the model at once, into Parquet files of --shard-size
    videos; the same command goes on where a run was broken off. Needs pip install "pv-sparse[batch]", and for
    --engine ray, which spreads the work over the machines of a Ray cluster, "pv-sparse[ray]".
    """
    if output is not None and (sheet or as_json):
        raise click.UsageError("--sheet and --json print single videos: leave them out with --output")
    if output is not None and (when or confidence is not None):
        raise click.UsageError("--confidence and --when look at one video at a time: leave them out with --output")
    if when and (all_views or select or confidence is not None):
        raise click.UsageError("--when looks in its own way: leave out --all-views, --select and --confidence")
    if max_segments is not None and confidence is None:
        raise click.UsageError("--max-segments is where looking ends that --confidence did not end: give both")
    if output is None:
        from pv_sparse.early_exit import EarlyExit
        from pv_sparse.recognize_command import run

        _check_alone(context, ("features", "engine", "shard_size", "batch_size", "jobs"))
        debug = bool(context.meta.get(DEBUG))
        given = {} if max_segments is None else {"max_segments": max_segments}
        early_exit = None if confidence is None else EarlyExit(confidence, **given)
        failed = run(
            videos,
            weights,
            top_k,
            as_json,
            sheet,
            all_views,
            device,
            precision,
            compiled,
            select=select,
            early_exit=early_exit,
            when=when,
            debug=debug,
        )
    else:
        with needs_extra("ray" if engine == "ray" else "batch"):
            from pv_sparse.batch_command import run as run_batch

            failed = run_batch(
                videos,
                output,
                weights=weights,
                top_k=top_k,
                all_views=all_views,
                select=select,
                features=features,
                engine=engine,
                shard_size=shard_size,
                batch_size=batch_size,
                jobs=jobs,
                device=device,
                precision=precision,
                compiled=compiled,
            )
    sys.exit(1 if failed else 0)


def _check_alone(context: click.Context, names: tuple[str, ...]) -> None:
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} is for many videos: give --output DIR too")


@click.command()
@click.argument("source", metavar="FILE|CAMERA|ADDRESS|-")
@weights_option
@top_k_option
@click.option(
    "--memory",
    type=click.Choice(["window", "paper", "script"]),
    help="Which frames the model reads again. Default: paper for ECO, else window.",
)
@click.option(
    "--fps",
    type=click.FloatRange(min=0),
    default=8.0,
    show_default=True,
    help="Frames looked at in a second of the stream; 0 is all.",
)
@click.option("--realtime", is_flag=True, help="Read a file as fast as it plays, and drop frames as of a camera.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="OUT.jsonl", help="Else to standard output.")
@click.option(
    "--overlay", type=click.Path(dir_okay=False), metavar="OUT.mp4", help="Write the video with what is seen."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True, help="Seconds."
)
@click.option(
    "--reconnects", type=click.IntRange(min=0), default=10, show_default=True, help="Tries, of a live stream."
)
@click.option("--serve", is_flag=True, help='Show it on a web page; needs pip install "pv-sparse[app]".')
@click.option("--host", default="127.0.0.1", show_default=True, help="Of the page: who may see it.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Of the page; 0 is any.")
@device_option
@precision_option
@compile_option
@debug_option
def watch(
    source: str,
    weights: str | None,
    top_k: int,
    memory: str | None,
    fps: float,
    realtime: bool,
    output: str | None,
    overlay: str | None,
    timeout: float,
    reconnects: int,
    serve: bool,
    host: str,
    port: int,
    device: str | None,
    precision: str | None,
    compiled: bool,
) -> None:
    """Say what happens in a stream, while it happens: one JSON object a line.

    SOURCE is a file, a camera (its number, or /dev/video0), an address (rtsp://, http://, udp://, ...), or - for
    standard input. Frames that come faster than the model answers are dropped, and counted in every line. A live
    stream that breaks off is connected to again.
    """
    from pv_sparse.watch_command import WatchOptions, run

    options = WatchOptions(
        weights=weights,
        top_k=top_k,
        memory=memory,
        fps=fps,
        realtime=realtime,
        output=output,
        overlay=overlay,
        timeout=timeout,
        reconnects=reconnects,
        serve=serve,
        host=host,
        port=port,
        device=device,
        precision=precision,
        compiled=compiled,
    )
    run(source, options)


@click.command()
@click.argument("weights", metavar="NAME_OR_PATH")
@click.argument("output", type=click.Path(dir_okay=False), metavar="OUT.pt2|OUT.onnx|OUT.pt")
@click.option("--segments", type=click.IntRange(min=1), help="Segments of a video. Default: those of the weights.")
@click.option("--size", type=click.IntRange(min=1), help="Pixels of the sides of a frame. Default: of the weights.")
@debug_option
def export(weights: str, output: str, segments: int | None, size: int | None) -> None:
    """Write a model for other programs, checked against ours.

    The name's end says the format: .pt2 is torch.export, .onnx ONNX, .pt TorchScript. The batch is of any size. How
    videos are sampled and preprocessed, and the classes, are written beside it, into OUT.json. Needs pip install
    "pv-sparse[export]" for ONNX.
    """
    with needs_extra("export"):
        from pv_sparse.export_command import run

        run(weights, output, segments, size)


@click.command()
@click.argument("weights", nargs=-1, metavar="[NAME_OR_PATH...]")
@click.option("--video", metavar="FILE", help="To decode. Default: 10 s of 340x256, made for it.")
@click.option("--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Videos shown at a time.")
@click.option("--rounds", type=click.IntRange(min=3), default=20, show_default=True, help="Measured runs of each.")
@click.option("--threads", type=click.IntRange(min=1), help="Of torch. Default: its own choice.")
@click.option("--paper", is_flag=True, help="The table of ECO's paper, on this machine.")
@click.option("--early-exit", is_flag=True, help="Accuracy against cost where looking stops when it is sure.")
@click.option("--data", metavar="DIR", help="With --early-exit: a folder of videos for each class of the weights.")
@click.option("--max-segments", type=int, metavar="N", help="With --early-exit: look at so many. Default: 16.")
@click.option("--select", metavar="NAME", help="With --early-exit: best frames first, by motion, or diverse.")
@click.option("--save", metavar="OUT.safetensors", help="With --early-exit: the weights, calibrated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")
@device_option
@precision_option
@compile_option
@debug_option
def bench(
    weights: tuple[str, ...],
    video: str | None,
    batch_size: int,
    rounds: int,
    threads: int | None,
    paper: bool,
    early_exit: bool,
    data: str | None,
    max_segments: int | None,
    select: str | None,
    save: str | None,
    as_json: bool,
    device: str | None,
    precision: str | None,
    compiled: bool,
) -> None:
    """Measure decoding, the model, and both together on this machine: videos a second, and latencies p50 and p99.

    With --early-exit: at what accuracy and cost recognize --confidence stops. Half of the videos of --data fit a
    temperature, after which a score is the share of right answers; the other half are measured.
    """
    from pv_sparse.bench.options import BenchOptions
    from pv_sparse.bench_command import run

    options = BenchOptions(
        video=video,
        batch_size=batch_size,
        rounds=rounds,
        threads=threads,
        device=device,
        precision=precision,
        compiled=compiled,
        early_exit=early_exit,
        data=data,
        max_segments=max_segments,
        select=select,
        save=save,
    )
    run(weights, options, paper, as_json)
