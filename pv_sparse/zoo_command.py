"""`pv-sparse zoo`: what there is, where its file is, and files of our own made of others'."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pv_sparse.errors import PvSparseError, WeightsError, one_line
from pv_sparse.resources import resource_dir
from pv_sparse.zoo import files
from pv_sparse.zoo.download import verify as verify_file
from pv_sparse.zoo.table import best_figure, hash_told, zoo_tables
from pv_sparse.zoo.weights import Weights, classes_told, get_weights, list_weights


def list_zoo(family: str | None, dataset: str | None, modality: str | None, available: bool, as_json: bool) -> None:
    """One line, or one JSON object, for each that fits."""
    chosen = [
        weights
        for weights in map(get_weights, list_weights(available))
        if family in (None, weights.family)
        and modality in (None, weights.modality)
        and (dataset is None or dataset.lower() in weights.dataset.lower())
    ]
    if as_json:
        for weights in chosen:
            click.echo(json.dumps(_summary(weights)))
        return
    rows = [(w.name, w.dataset, w.modality, classes_told(w.num_classes), best_figure(w), _where(w)) for w in chosen]
    _print_columns([("name", "data set", "modality", "classes", "figure", "file"), *rows])


def show(name: str) -> None:
    """Everything the record of a name or a file says."""
    weights = _find(name)
    where = files.find(weights.file)
    lines = {
        "name": weights.name,
        "description": weights.description,
        "build": _call(weights.build["builder"], weights.build["arguments"]),
        "published test": _call("SegmentClipSampler", weights.sampling),
        "one look": _call("segment_indices", weights.one_view or weights.sampling),
        "input": ", ".join(f"{key} {value}" for key, value in weights.input.items()),
        "classes": f"{classes_told(weights.num_classes)}: {_first(weights)}",
        "scorer": ", ".join(f"{key} {value}" for key, value in weights.scorer.items()),
        "early exit": f"temperature {weights.exit_temperature:g}" if weights.exit_temperature else "",
        "order": weights.category_order,
        "source": weights.origin.get("url", ""),
        "license": weights.origin.get("license", ""),
        "addresses": " ".join(weights.file.get("urls", ())),
        "sha256": hash_told(weights),
        "doubtful": weights.origin.get("doubtful", ""),
        "file": str(where) if where else _where(weights),
        "notes": weights.notes,
        "unsupported": weights.unsupported,
    }
    for word, text in lines.items():
        if text:
            click.echo(f"{word:15} {text}")
    for metric in weights.metrics:
        click.echo(f"{'figures':15} {_figures(metric)}")


def download(names: Sequence[str], progress: bool) -> int:
    """Bring files here; returns how many could not be had."""
    return sum(_attempt(name, lambda weights: _downloaded(weights, progress)) for name in names)


def verify(names: Sequence[str]) -> int:
    """Check files that are here, all of them where no name is given; returns how many are damaged or missing."""
    return sum(_attempt(name, _verified) for name in names or list_weights(available=True))


def convert(source: str, output: str, categories: str | None) -> None:
    """Write a file of ours: tensors under our names, build and categories."""
    from pv_sparse.zoo.loading import load_model
    from pv_sparse.zoo.saving import check_output, save_model
    from pv_sparse.zoo.scorers import load_scorer

    check_output(output)
    weights = _find(source)
    if categories is not None:
        weights = _with_categories(weights, Path(categories))
    save_model(load_model(weights), output, weights, load_scorer(weights) if weights.scorer else None)
    click.echo(f"{output}: {weights.description or weights.name}")


def write_table(output: str | None) -> None:
    """`model_zoo/README.md`, or another file."""
    path = Path(output) if output else resource_dir("model_zoo") / "README.md"
    path.write_text(zoo_tables(map(get_weights, list_weights())), encoding="utf-8")
    click.echo(str(path))


def _find(name: str) -> Weights:
    """Records of files need torch, those of the zoo do not."""
    if name in list_weights():
        return get_weights(name)
    from pv_sparse.zoo.loading import find_weights

    return find_weights(name)


def _attempt(name: str, action: Callable[[Weights], str]) -> bool:
    """Whether it failed; one failing leaves the others be."""
    try:
        click.echo(f"{name}: {action(get_weights(name))}")
    except (PvSparseError, OSError) as error:
        click.echo(f"Error: {name}: {one_line(error)}", err=True)
        return True
    return False


def _downloaded(weights: Weights, progress: bool) -> str:
    if weights.unsupported:
        click.echo(f"Warning: {weights.name} cannot be loaded here: {weights.unsupported}", err=True)
    return str(files.require(weights.file, weights.name, progress))


def _verified(weights: Weights) -> str:
    path = files.find(weights.file)
    if path is None:
        raise WeightsError("its file is not here: pv-sparse zoo download gets it")
    verify_file(path, weights.file.get("sha256"), weights.file.get("size"))
    return (
        f"{path}: {'as published' if 'sha256' in weights.file else 'there, but no hash is published to compare with'}"
    )


def _with_categories(weights: Weights, path: Path) -> Weights:
    if not isinstance(weights.num_classes, int):
        raise ValueError(
            f"--categories names the classes of one task, the weights have {classes_told(weights.num_classes)}"
        )
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    if "" in names:
        raise ValueError(f"{path}, line {names.index('') + 1}: it is empty: give a name a line")
    if len(names) != weights.num_classes:
        told = classes_told(weights.num_classes)
        raise ValueError(f"{path} has {len(names)} lines, the weights have {told}: give a name a line")
    return replace(weights, categories=names)


def _summary(weights: Weights) -> dict[str, Any]:
    keys = ("name", "description", "dataset", "family", "modality", "metrics", "unsupported")
    path = files.find(weights.file)
    return {key: getattr(weights, key) for key in keys} | {
        "num_classes": weights.num_classes,
        "license": weights.origin.get("license", "unstated"),
        "available": weights.is_available,
        "path": str(path) if path else None,
    }


def _where(weights: Weights) -> str:
    if weights.unsupported:
        return "not supported"
    if weights.is_available:
        return "here"
    return f'pip install "pv-sparse[{weights.file["extra"]}]"' if "extra" in weights.file else "to download"


def _first(weights: Weights) -> str:
    """A few names, of each task."""
    lists = weights.categories.values() if isinstance(weights.categories, dict) else [weights.categories]
    return "; ".join(", ".join(names[:3]) + ", ..." for names in lists)


def _figures(metric: Any) -> str:
    numbers = ", ".join(f"{key} {value}" for key, value in metric.items() if isinstance(value, (int, float)))
    return f"{numbers} on {metric['dataset']}, {metric['protocol']} (by {metric['by']})"


def _call(function: str, arguments: Any) -> str:
    return f"{function}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _print_columns(rows: Iterable[tuple[str, ...]]) -> None:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
