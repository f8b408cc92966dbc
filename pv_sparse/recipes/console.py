"""What the commands say, and what Lightning does not, in a process that is theirs."""

import logging
import warnings

import click
from lightning.pytorch.utilities import rank_zero_only

CHATTY = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")


def quiet_lightning() -> None:
    """Warnings and information of Lightning, which says much that is no news, are not shown any more."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
    warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)


@rank_zero_only
def tell(text: str) -> None:
    """On standard output, by one of all processes."""
    click.echo(text)
