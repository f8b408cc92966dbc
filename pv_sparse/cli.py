"""`pv-sparse`: the command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from pv_sparse import __version__
from pv_sparse.errors import one_line

DEBUG = "pv_sparse.debug"


def _remember_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.meta[DEBUG] = True


debug_option: Callable[[Any], Any] = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error."
)

jobs_option: Callable[[Any], Any] = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    metavar="N",
    help="Processes. Default: one a core.",
)


class OneLineErrors(click.Group):
    """Every error is one line and exit code 1; wrong usage stays click's, with exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click knows what to do with these
        except Exception as error:
            if ctx.meta.get(DEBUG):
                raise
            raise click.ClickException(one_line(error)) from error


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Around an import: what is not installed is told with the extra that has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "pv_sparse":
            raise
        raise click.ClickException(f'{missing} is not installed: pip install "pv-sparse[{name}]"') from error


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pv-sparse")
@debug_option
def main() -> None:
    """Sparse-sampling action recognition (TSN, TRN, ECO) for PyTorchVideo."""


@main.command()
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO|DIR|LIST...")
@click.option("--weights", metavar="NAME_OR_PATH", help="Of the zoo, or a file. Default: tsn_efficientnet_lite0.in1k.")
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Classes for each video.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--sheet", type=click.Path(dir_okay=False), metavar="OUT.png", help="Draw the frames and what they say.")
@click.option("--device", help="Where the model runs. Default: cuda where torch sees a GPU, else cpu.")
@debug_option
@click.pass_context
def recognize(
    context: click.Context,
    videos: tuple[str, ...],
    weights: str | None,
    top_k: int,
    as_json: bool,
    sheet: str | None,
    device: str | None,
) -> None:
    """Say what happens in videos: files, all videos below a folder, or those named in a text file.

    Each line of a text file (.txt, .csv, .lst, .list) names a video; a label after it is ignored.
    """
    from pv_sparse.recognize_command import run

    failed = run(videos, weights, top_k, as_json, sheet, device, bool(context.meta.get(DEBUG)))
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO|DIR|LIST...")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), metavar="OUT.csv|OUT.parquet")
@jobs_option
@debug_option
def index(videos: tuple[str, ...], output: str, jobs: int) -> None:
    """Measure every video of a corpus: frames, rate, size, codec, keyframes; or why it cannot be read.

    Writes one row per video, readable or not: path (as given: relative paths stay relative to the working directory),
    error, num_frames, average_rate, duration_seconds, width, height, codec, keyframes, size_bytes. An interrupted run
    goes on where it was, from OUT.part. A finished index is extended by the videos that are new, or whose size
    changed; its other rows stay. .parquet needs pyarrow: pip install "pv-sparse[batch]".

    Unreadable videos are what an index is there to find: they are told on standard error, and the exit code is 0.
    """
    from pv_sparse.index_command import run

    run(videos, output, jobs)


@main.command()
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO|DIR|LIST...")
@click.argument("output", type=click.Path(file_okay=False), metavar="OUT")
@click.option("--method", type=click.Choice(["tvl1", "dis"]), default="tvl1", show_default=True, help="dis is fast.")
@click.option("--size", default="340x256", show_default=True, metavar="WxH|keep", help="Frames are scaled to it first.")
@click.option(
    "--bound",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Pixels of motion that are white.",
)
@click.option("--warped", is_flag=True, help="Remove the camera's motion first.")
@click.option("--rgb/--no-rgb", default=True, show_default=True, help="Write the frames too.")
@jobs_option
@debug_option
def flow(
    videos: tuple[str, ...], output: str, method: str, size: str, bound: float, warped: bool, rgb: bool, jobs: int
) -> None:
    """Compute the optical flow of videos, into folders of JPEGs: flow_x_00001.jpg, flow_y_00001.jpg, img_00001.jpg.

    Each video has the folder OUT/NAME, NAME being its path, without suffix, below DIR, or below the folder that the
    videos of a LIST share. Flow image k is the motion from frame k to frame k + 1, counted from 1. Videos whose
    folder is there are left out, so that an interrupted run goes on where it was. Needs pip install "pv-sparse[flow]".

    A video that fails does not stop the others; it is named at the end, and the exit code is 1.
    """
    from pv_sparse.flow_command import FlowOptions, parse_size, run

    failed = run(videos, output, FlowOptions(method, parse_size(size), bound, warped, rgb), jobs)
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE...]")
@click.option("--show", is_flag=True, help="Print the configuration, and do nothing.")
@debug_option
def train(overrides: tuple[str, ...], show: bool) -> None:
    """Train a model; the same command again goes on with a run that was broken off.

    Settings are those of configs/train.yaml, changed by overrides: experiment=tsn_k400_r50 data.root=videos
    optim.lr=0.01 out=DIR. Everything is written into DIR: checkpoints, the model in one file, a report. Needs
    pip install "pv-sparse[train]".
    """
    with needs_extra("train"):
        from pv_sparse.train_command import run

    run(overrides, show)


@main.command()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE...]")
@debug_option
def evaluate(overrides: tuple[str, ...]) -> None:
    """Test weights on labelled videos by a published protocol, or fuse the scores of several such tests.

    Settings are those of configs/evaluate.yaml, changed by overrides: weights=NAME_OR_FILE videos=DIR_OR_LIST
    protocol=tsn_25x10 out=DIR; or scores=[a/scores.npz,b/scores.npz] fusion_weights=[1,1.5] out=DIR. Needs
    pip install "pv-sparse[train]".
    """
    with needs_extra("train"):
        from pv_sparse.evaluate_command import run

    run(overrides)


@main.command()
@debug_option
def doctor() -> None:
    """Say what is installed, what of PyTorchVideo is broken or repaired, and where things are."""
    from pv_sparse.doctor import doctor as examine

    click.echo("\n".join(examine()))


@main.group()
def zoo() -> None:
    """Pretrained weights: what there is, and files on this machine."""


@zoo.command("list")
@click.option("--family", type=click.Choice(["tsn", "trn", "eco", "backbone"]), help="Default: all.")
@click.option("--dataset", metavar="WORDS", help="That the weights were trained on, or a part of its name.")
@click.option("--modality", type=click.Choice(["rgb", "flow", "rgbdiff"]), help="Default: all.")
@click.option("--available", is_flag=True, help="Only what loads without a download.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@debug_option
def zoo_list(family: str | None, dataset: str | None, modality: str | None, available: bool, as_json: bool) -> None:
    """List the weights, each with its data set, a published figure, and whether its file is here."""
    from pv_sparse.zoo_command import list_zoo

    list_zoo(family, dataset, modality, available, as_json)


@zoo.command("show")
@click.argument("name", metavar="NAME|FILE")
@debug_option
def zoo_show(name: str) -> None:
    """Say everything about weights: build, sampler, input, classes, figures, source, file."""
    from pv_sparse.zoo_command import show

    show(name)


@zoo.command("download")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--progress/--no-progress", default=True, help="Show a bar.")
@debug_option
def zoo_download(names: tuple[str, ...], progress: bool) -> None:
    """Bring files here, into PV_SPARSE_HOME (default ~/.cache/pv_sparse), verified.

    An interrupted download is resumed. PV_SPARSE_MIRROR, an address or a folder, is searched by file name first;
    PV_SPARSE_OFFLINE=1 forbids downloads.
    """
    from pv_sparse.zoo_command import download

    sys.exit(1 if download(names, progress) else 0)


@zoo.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@debug_option
def zoo_verify(names: tuple[str, ...]) -> None:
    """Compare files that are here with their published hashes; without names, all of them."""
    from pv_sparse.zoo_command import verify

    sys.exit(1 if verify(names) else 0)


@zoo.command("convert")
@click.argument("source", metavar="NAME|IN")
@click.argument("output", metavar="OUT.safetensors")
@click.option("--categories", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="A class name a line.")
@debug_option
def zoo_convert(source: str, output: str, categories: str | None) -> None:
    """Make a file that carries its build, sampler, input and classes, of a checkpoint of an original or of the zoo."""
    from pv_sparse.zoo_command import convert

    convert(source, output, categories)


@zoo.command("table")
@click.argument("output", required=False, type=click.Path(dir_okay=False), metavar="[OUT.md]")
@debug_option
def zoo_table(output: str | None) -> None:
    """Write model_zoo/README.md anew, the zoo as tables."""
    from pv_sparse.zoo_command import write_table

    write_table(output)


if __name__ == "__main__":
    main()
