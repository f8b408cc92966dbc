"""Does `pv-sparse` answer at once? CPU time of `import pv_sparse` and `pv-sparse --help`, as shares of `import torch`.

Each is a fresh process, in turns, so that a busy machine slows all alike. Prints a table and writes startup.json.
"""

import json
import platform
import resource
import statistics
import subprocess
import sys
from pathlib import Path

COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import pv_sparse": ["-c", "import pv_sparse"],
    "pv-sparse --help": ["-m", "pv_sparse", "--help"],
}
ROUNDS = 9


def main() -> None:
    seconds = {name: [] for name in COMMANDS}
    for name, arguments in [*COMMANDS.items()] * (ROUNDS + 1):
        seconds[name].append(cpu_seconds(arguments))
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first round warms the disk
    print(f"Python {platform.python_version()}, {platform.machine()}, median CPU time of {ROUNDS} fresh processes")
    for name, times in seconds.items():
        share = medians[name] / medians["import torch"]
        print(
            f"{name:18} {medians[name]:6.3f} s  ({min(times[1:]):.3f} to {max(times[1:]):.3f})  {share:6.1%} of torch"
        )
    Path(__file__).with_name("startup.json").write_text(json.dumps(medians, indent=1) + "\n")


def cpu_seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
