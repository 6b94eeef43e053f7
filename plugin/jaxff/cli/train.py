"""`jaxff train`: from labelled structures to a .jaxff file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    structures: Annotated[
        list[Path],
        typer.Argument(help="Labelled structures: .xyz, .xyz.xz, .traj, .db, OUTCAR, ...; see docs/data.md."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The potential to write, e.g. si.jaxff.")],
    valid: Annotated[
        list[Path] | None, typer.Option("--valid", metavar="FILE", help="Validation data; else a part is set aside.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A descriptor (ace, acsf, ...) or a message-passing architecture. [default: ace]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Configuration, YAML; see `jaxff config`.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="e.g. training.learning_rate=0.002; repeatable."),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A .jaxff file to start from; elements it lacks are added."),
    ] = None,
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="With --from: structures that it labels itself and learns again, not to forget them; repeatable.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. [default: by the data's size]")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same numbers. [default: 0]")] = None,
    members: Annotated[
        int, typer.Option(min=1, max=64, help="Train so many from other seeds; the potential is their mean.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything, say what would be trained, write nothing.")
    ] = False,
) -> None:
    """Train a potential and save it.

    Beside OUT it leaves a log, one JSON record an epoch (OUT.log.jsonl), and a plot of it (OUT.training.png). When it
    is interrupted, the same command resumes from OUT.checkpoint.
    """
    import os

    # The optimiser's small QR factorisations: a second BLAS thread only gets in XLA's way, a hundredfold on busy cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from jaxff.cli.outputs import CHECKPOINT, LOG, PLOT, POTENTIAL, Output, beside, check_outputs
    from jaxff.config import load_config
    from jaxff.train.train_files import checkpoints, train_files

    loaded = load_config(config, model, set_ or (), epochs=epochs, seed=seed)
    written = Output("--out", out, POTENTIAL)
    stages = [Output("--out", path, CHECKPOINT) for path in checkpoints(out)]
    check_outputs(
        [written, *beside(written, log_jsonl=LOG, training_png=PLOT), *stages],
        [*structures, *(valid or ()), *(replay or ()), config, from_, *loaded.files()],
    )
    train_files(
        structures, out, loaded, valid or [], start=from_, dry_run=dry_run, members=members, replay=replay or []
    )
