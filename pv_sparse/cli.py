"""`pv-sparse`: the command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

import sys

import click

from pv_sparse import __version__
from pv_sparse.cli_inference import bench, export, recognize, watch
from pv_sparse.cli_options import OneLineErrors, debug_option, jobs_option, needs_extra
from pv_sparse.cli_study import study
from pv_sparse.cli_zoo import zoo


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pv-sparse")
@debug_option
def main() -> None:
    """Sparse-sampling action recognition (TSN, TRN, ECO) for PyTorchVideo."""


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


for _command in (bench, export, recognize, study, watch, zoo):
    main.add_command(_command)

if __name__ == "__main__":
    main()
