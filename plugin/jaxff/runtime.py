"""How JAX is set up before its first use: device, threads and the on-disk cache of compiled models."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from pathlib import Path


def configure(threads: int | None = None, platforms: str | None = None, asynchronous: bool = True) -> None:
    """Prepare JAX; settings that a user made in the environment are kept.

    Args:
        threads: CPU threads for XLA; takes effect only before JAX's first computation. None leaves JAX's choice.
        platforms: for ``JAX_PLATFORMS``, e.g. "cpu".
        asynchronous: False computes in the calling thread: an engine that waits for every result saves the hand-over.
    """
    if threads is not None and "jax" not in sys.modules:
        os.environ.setdefault("NPROC", str(threads))  # the size XLA gives its thread pools
        if threads == 1 and "xla_cpu_multi_thread_eigen" not in os.environ.get("XLA_FLAGS", ""):
            os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    if platforms is not None:
        os.environ.setdefault("JAX_PLATFORMS", platforms)
    import jax

    if not asynchronous:
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_directory()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def cache_directory() -> Path:
    """Where compiled models are kept: ``$JAXFF_CACHE``, or ``jaxff`` in the user's cache directory.

    One folder a processor type: code compiled for one need not run on another that shares the home directory.
    """
    base = os.environ.get("JAXFF_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "jaxff"
    )
    return Path(base) / f"xla-{_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        features = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
