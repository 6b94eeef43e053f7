"""The `jaxff` command line. Each subcommand lives in its own module, which imports what it needs when it runs."""

from __future__ import annotations

import sys

import typer

from jax_models.errors import JaxffError

app = typer.Typer(name="jaxff", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def main() -> None:
    """Run the command; a user's mistake ends with its message and status 1, not with a traceback."""
    try:
        app()
    except JaxffError as error:
        print(f"jaxff: error: {error}", file=sys.stderr)
        sys.exit(1)
