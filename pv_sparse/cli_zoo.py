"""`pv-sparse zoo`: weights that there are, and files on this machine."""

import sys

import click

from pv_sparse.cli_options import debug_option


@click.group()
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
