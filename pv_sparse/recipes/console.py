"""What the commands say, and what Lightning does not, in a process that is theirs."""

import logging
import os
import signal
import warnings

import click
import torch
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

CHATTY = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")


def quiet_lightning() -> None:
    """Warnings and information of Lightning, which says much that is no news, are not shown any more."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
    warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)


def leave_cores_to(num_workers: int) -> None:
    """On a CPU, torch gets the cores that the workers do not need.

    Threads that wait for a core make steps many times slower. Where OMP_NUM_THREADS is set, it holds.
    """
    if "OMP_NUM_THREADS" not in os.environ and not torch.cuda.is_available():
        torch.set_num_threads(max(1, torch.get_num_threads() - num_workers))


def exit_code(stop: BaseException) -> int:
    """That a shell gives a program which was stopped so: by Ctrl-C, or by SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(stop, SIGTERMException) else signal.SIGINT)


@rank_zero_only
def tell(text: str) -> None:
    """On standard output, by one of all processes."""
    click.echo(text)


@rank_zero_only
def warn(text: str) -> None:
    """On standard error, by one of all processes."""
    click.echo(text, err=True)
