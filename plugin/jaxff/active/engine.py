"""Tasks on several processes or machines, by Dask.

Dask rather than Parsl: a worker that dies is replaced and its task given to another, a queue (SLURM, PBS, ...) is one
class of dask_jobqueue with plain settings, and a scheduler that runs already can be used. Parsl's configuration is
Python code, which a YAML file cannot hold.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jax_models.errors import ConfigError, JaxffError
from jaxff.active.settings import Engine

FAILURES = 5
"""Workers that may die over one task before it is given up."""

STARTS = 3
"""Attempts to start workers on this machine."""

Task = tuple[Any, ...]
"""A function and its arguments, all of which can be pickled."""


class Workers:
    """Runs tasks."""

    def __init__(self, client: Any):
        self._client = client

    def run(self, tasks: Sequence[Task], progress: Callable[[int, int], None] | None = None) -> list[Any]:
        """The result of each task, in their order.

        Raises:
            JaxffError: what a task raises; a task over which workers die again and again.
        """
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        futures = [self._client.submit(function, *arguments, pure=False) for function, *arguments in tasks]
        try:
            for done, _ in enumerate(as_completed(futures), start=1):
                progress and progress(done, len(futures))
            return self._client.gather(futures)
        except KilledWorker as error:
            raise JaxffError(f"{FAILURES} workers died over one task ({error}); see what it prints by itself") from None
        finally:
            self._client.cancel(futures)


@contextmanager
def workers(engine: Engine) -> Iterator[Workers]:
    """Workers as the run wants them, until the block ends.

    Raises:
        ConfigError: there is no such kind of cluster, or no scheduler at that address.
    """
    import dask

    # Imported first: settings that are laid over its own would take those along when they go.
    from distributed import Client

    ours = {"distributed.scheduler.allowed-failures": FAILURES, "distributed.logging.distributed": logging.CRITICAL}
    with dask.config.set(ours), _quiet(logging.getLogger("distributed")):
        if engine.scheduler is not None:
            try:
                client = Client(engine.scheduler, timeout=30)
            except (OSError, ValueError) as error:
                raise ConfigError(f"engine.scheduler: nobody answers at {engine.scheduler} ({error})") from None
            with client:
                yield Workers(client)
            return
        if engine.cluster is None:
            cluster = _processes(engine.workers)
        else:
            cluster = _queue(engine)
        with cluster, Client(cluster) as client:
            yield Workers(client)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """What goes wrong with a task is raised; that is enough."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _processes(number: int) -> Any:
    """Workers on this machine. One that is killed before it has begun stops the others too; so they are begun again."""
    from distributed import LocalCluster

    for attempt in range(1, STARTS + 1):
        try:
            return LocalCluster(
                n_workers=number, threads_per_worker=1, processes=True, dashboard_address="localhost:0", memory_limit=0
            )
        except (RuntimeError, TimeoutError) as error:
            if attempt == STARTS:
                raise JaxffError(f"{number} workers did not start in {STARTS} attempts: {error}") from None


def _queue(engine: Engine) -> Any:
    try:
        import dask_jobqueue
    except ImportError:
        raise ConfigError(f"engine.cluster {engine.cluster} needs dask-jobqueue; pip install dask-jobqueue") from None
    kind = getattr(dask_jobqueue, str(engine.cluster), None)
    if kind is None:
        raise ConfigError(
            f"engine.cluster: dask_jobqueue has no {engine.cluster}; it has SLURMCluster, PBSCluster, ..."
        )
    cores, processes = engine.settings.get("cores", 1), engine.settings.get("processes", 1)
    if cores != processes:
        # Each thread of a worker is given a task; a labeller with many cores would have to share them.
        raise ConfigError(
            f"engine.settings: {cores} cores and {processes} processes are workers that do several tasks at once; "
            "write cores: 1, processes: 1, and ask the queue for more cores by job_cpu or job_extra_directives "
            "(docs/active.md)"
        )
    try:
        cluster = kind(**{"scheduler_options": {"dashboard_address": "localhost:0"}, **engine.settings})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"engine.settings do not fit {engine.cluster}: {error}") from None
    cluster.scale(jobs=engine.workers)
    return cluster
