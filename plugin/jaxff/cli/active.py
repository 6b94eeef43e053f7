"""`jaxff active`: a loop that explores, labels and trains until its errors are as asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def active(
    run: Annotated[Path, typer.Argument(help="What to explore, who labels, when it ends: YAML, see docs/active.md.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes, instead of engine.workers.")] = None,
) -> None:
    """Explore, stop where forces are expected to be wrong, label what is new, train, and again until the goal is met.

    Everything is kept in the folder that the file names under `out`. Interrupted or killed, the same command goes on.
    It ends with status 1 where the goal was not met, and says why; the best potential is there all the same.
    """
    import os

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from rich.console import Console

    from jax_models.errors import JaxffError
    from jaxff.active.loop import run_active
    from jaxff.active.settings import read_active

    settings = read_active(run)
    if workers is not None:
        settings = settings.model_copy(update={"engine": settings.engine.model_copy(update={"workers": workers})})
    outcome = run_active(settings, Console())
    if not outcome.met:
        raise JaxffError(f"{outcome.why} ({outcome.potential} is the last one)")
    print(f"{outcome.why}: {outcome.potential}")
