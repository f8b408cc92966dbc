"""What was measured on: the processor, the GPU, and the versions of what computes and decodes."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pv_sparse.versions import versions

# What of a processor's instructions decides the speed of networks, as Linux names them.
UNITS = (
    *("avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2"),
)
CPU_FILE = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """What was measured on.

    Attributes:
        cpu: the name of the processor.
        cores: that this process may use.
        threads: of torch.
        capability: the widest instructions that torch uses, such as "AVX2".
        units: those of `UNITS` that the processor has; empty where the system does not tell.
        gpus: by name and memory (`memory_bytes`) those that torch sees.
        versions: of Python and of packages; None where one is not installed.
    """

    cpu: str
    cores: int
    threads: int
    capability: str
    units: tuple[str, ...]
    gpus: tuple[dict[str, Any], ...]
    versions: dict[str, str | None]

    def lines(self) -> list[str]:
        """For people."""
        units = f" ({' '.join(self.units)})" if self.units else ""
        gpus = [f"GPU: {gpu['name']}, {gpu['memory_bytes'] / 2**30:.1f} GiB" for gpu in self.gpus]
        return [
            f"CPU: {self.cpu}, {self.capability}{units}; cores: {self.cores}, threads of torch: {self.threads}",
            *(gpus or ["GPU: none that torch can use"]),
            ", ".join(f"{name} {version or 'missing'}" for name, version in self.versions.items()),
        ]


def machine() -> Machine:
    """This one."""
    text = CPU_FILE.read_text(encoding="utf-8", errors="replace") if CPU_FILE.is_file() else ""
    found = versions()
    properties = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return Machine(
        cpu=cpu_name(text) or platform.processor() or platform.machine() or "unknown",
        cores=_cores(),
        threads=torch.get_num_threads(),
        capability=torch.backends.cpu.get_cpu_capability(),
        units=cpu_units(text),
        gpus=tuple({"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in properties),
        versions={name: found[name] for name in ("python", "torch", "torchvision", "av", "pv_sparse")},
    )


def cpu_name(text: str) -> str:
    """Of the first processor in what Linux tells of them; empty where there is none."""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def cpu_units(text: str) -> tuple[str, ...]:
    """Those of `UNITS` that the first processor in what Linux tells of them has."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    own = set(match[1].split()) if match else set()
    return tuple(unit for unit in UNITS if unit in own)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
