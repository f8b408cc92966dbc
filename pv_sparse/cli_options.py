"""What the commands share: errors of one line, and options that mean the same everywhere."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

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
