"""`model_zoo/README.md`: the zoo as tables for people."""

from collections.abc import Iterable

from pv_sparse.zoo.weights import Weights, classes_told

FIGURES = ("top1", "mAP", "action_top1")
TITLES = {
    "tsn": "TSN",
    "trn": "TRN",
    "eco": "ECO",
    "backbone": "Backbones, and the 3-D network that ECO starts from",
}
INTRODUCTION = """# The model zoo

Made by `pv-sparse zoo table` from the `.yaml` files beside it; change those.

`pvs.load_model(name)` downloads the file of a name once and verifies it; `pv-sparse zoo show NAME` says everything
about it, with addresses, preprocessing and protocol. Figures are in percent, measured by the source (s), by the paper
(p) or by us (u); none was measured again here unless it says so. Licenses are those of the weights: "unstated" where
the publisher names none for them. The hash is the beginning of the file's SHA-256, as published; files without one
are checked by nothing but the names and shapes of their tensors.

Files of Caffe (TSN's and ECO's first ones) are not read. `TSM` models are not here.
"""


def zoo_tables(zoo: Iterable[Weights]) -> str:
    """The whole page, in Markdown."""
    records = list(zoo)
    parts = [INTRODUCTION]
    for family, title in TITLES.items():
        rows = [_row(weights) for weights in records if weights.family == family]
        head = "| name | trained on | modality | classes | figure | protocol | license | hash |\n" + "|---" * 8 + "|"
        parts.append("\n".join([f"## {title}\n", head, *rows]) + "\n")
    parts.append("\n".join(["## Notes\n", *_notes(records)]) + "\n")
    return "\n".join(parts)


def best_figure(weights: Weights) -> str:
    """The first figure of the record, `top1 72.83`, or nothing."""
    for metric in weights.metrics[:1]:
        for key in FIGURES:
            if key in metric:
                return f"{key} {metric[key]}"
    return ""


def hash_told(weights: Weights) -> str:
    """The published hash, or that there is none."""
    return weights.file.get("sha256", "none published" if "urls" in weights.file else "")


def _row(weights: Weights) -> str:
    protocol = weights.metrics[0]["protocol"] if weights.metrics else ""
    by = f" ({weights.metrics[0]['by'][0]})" if weights.metrics else ""
    cells = (
        f"`{weights.name}`",
        weights.dataset,
        weights.modality,
        classes_told(weights.num_classes),
        best_figure(weights) + by,
        protocol,
        weights.origin.get("license", "unstated"),
        hash_told(weights)[:16],
    )
    return f"| {' | '.join(cells)} |"


def _notes(records: Iterable[Weights]) -> Iterable[str]:
    for weights in records:
        order = f"the order of its classes is {weights.category_order}" if weights.category_order else ""
        doubtful = f"address: {weights.origin['doubtful']}" if "doubtful" in weights.origin else ""
        unsupported = f"cannot be loaded: {weights.unsupported}" if weights.unsupported else ""
        told = "; ".join(text for text in (weights.notes, order, doubtful, unsupported) if text)
        if told:
            yield f"* `{weights.name}`: {told}."
