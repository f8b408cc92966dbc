"""What results have beside the rows that are being measured: the machine, and rows of before."""

import os
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pv_sparse.study.results import Results, Row
from pv_sparse.versions import versions


def machine(accelerator: str) -> dict[str, Any]:
    """Processor, cores, and the name of the accelerator; None where there is none."""
    name = torch.cuda.get_device_name() if accelerator == "gpu" else None
    return {"processor": _processor(), "cores": os.cpu_count(), "accelerator": name}


def results_frame(
    level: str, accelerator: str, commands: Mapping[str, str], measured: Collection[str], before: Results | None = None
) -> Results:
    """Results of this machine, before anything is measured.

    Args:
        level, accelerator: of the study.
        commands: of all experiments, in their order.
        measured: the experiments that will be.
        before: what the folder has; of the same level and accelerator, rows of the other experiments stay, and what
            made them.
    """
    here = machine(accelerator)
    stays = before is not None and before.level == level and before.machine.get("accelerator") == here["accelerator"]
    kept = [
        row
        for row in (before.rows if before is not None and stays else ())
        if row.experiment in commands and row.experiment not in measured
    ]
    there = {*measured, *(row.experiment for row in kept)}
    of_before = {} if before is None else before.commands
    own = {name: of_before.get(name, command) for name, command in commands.items() if name in there}
    own |= {name: commands[name] for name in own if name in measured}
    return Results(level, here, versions(), kept, own)


def with_rows(frame: Results, rows: Sequence[Row]) -> Results:
    """Results with more rows, in the order of the experiments."""
    order = list(frame.commands)
    return replace(frame, rows=sorted([*frame.rows, *rows], key=lambda row: order.index(row.experiment)))


def _processor() -> str:
    """As the system calls it."""
    names = list(_lines_of(Path("/proc/cpuinfo"), "model name"))
    return names[0] if names else platform.processor() or platform.machine()


def _lines_of(path: Path, name: str) -> Iterator[str]:
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith(name):
                yield line.partition(":")[2].strip()
