"""What a command is going to write, checked before any work: the place, what stands there, and that it is no input."""

from __future__ import annotations

import json
import lzma
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from jax_models.errors import ConfigError, ModelFileError
from jaxff.compression import OPENERS

SIGNATURES = {
    "png": (b"\x89PNG",),
    "pdf": (b"%PDF",),
    "svg": (b"<?xml", b"<svg"),
    "svgz": (b"\x1f\x8b",),
    "eps": (b"%!PS",),
    "ps": (b"%!PS",),
    "jpg": (b"\xff\xd8",),
    "jpeg": (b"\xff\xd8",),
    "tif": (b"II*", b"MM\0*"),
    "tiff": (b"II*", b"MM\0*"),
    "gif": (b"GIF8",),
    "webp": (b"RIFF",),
    "avif": (b"\0\0\0",),
    "pgf": (b"%%",),
}
"""How the files of each format of plots begin."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, and whether a file is one."""

    name: str
    fits: Callable[[Path], bool]


def _head(path: Path, size: int = 64) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _is_potential(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 128))
        return zipfile.is_zipfile(path) and b"jaxff sha256:" in file.read()


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _is_log(path: Path) -> bool:
    first = path.read_bytes().splitlines()[:1]
    try:
        return isinstance(json.loads(first[0]), dict)
    except ValueError:
        return False


def _is_plot(path: Path) -> bool:
    begins = SIGNATURES.get(path.suffix.lstrip(".").lower())
    return begins is not None and _head(path).lstrip().startswith(begins)


def _is_xyz(path: Path) -> bool:
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        return file.readline(64).strip().isdigit()


def _is_features(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return all(name.endswith(".npy") for name in file.namelist())


def _is_pickle(path: Path) -> bool:
    return _head(path)[:1] == b"\x80"


def _is_html(path: Path) -> bool:
    return _head(path).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _is_trajectory(path: Path) -> bool:
    return _head(path).startswith(b"- of UlmASE-Trajectory")


def _is_checkpoint(path: Path) -> bool:
    head = _head(path)
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


POTENTIAL = Kind("a .jaxff file", _is_potential)
JSON = Kind("JSON", _is_json)
LOG = Kind("a log of JSON records", _is_log)
PLOT = Kind("a plot of that format", _is_plot)
XYZ = Kind("extended XYZ", _is_xyz)
FEATURES = Kind("a .npz file", _is_features)
PICKLE = Kind("a pickle", _is_pickle)
TRAJECTORY = Kind("a trajectory of ASE", _is_trajectory)
HTML = Kind("an HTML page", _is_html)
CHECKPOINT = Kind("a checkpoint of a training", _is_checkpoint)


@dataclass(frozen=True)
class Output:
    """A file that a command will write; ``option`` is how a user asked for it, ``path`` None if they did not."""

    option: str
    path: Path | None
    kind: Kind


def beside(output: Output, **suffixes: Kind) -> list[Output]:
    """Files that are written beside ``output``; a suffix is written with _ for its dots.

    Example:
        >>> beside(Output("--out", Path("si.jaxff"), POTENTIAL), log_jsonl=LOG)[0].path.name
        'si.jaxff.log.jsonl'
    """
    return [
        Output(output.option, Path(f"{output.path}.{suffix.replace('_', '.')}"), kind)
        for suffix, kind in suffixes.items()
    ]


def check_outputs(outputs: Iterable[Output], inputs: Iterable[Path | None] = ()) -> None:
    """Refuse outputs that cannot be written or would destroy something.

    A file that exists is replaced only by one of its own kind; one that is read by the same command never is.

    Raises:
        ModelFileError: a directory is not there, or cannot be written to.
        ConfigError: an output is an input, another output, a directory, or a file of another kind.
    """
    wanted = [(output, output.path) for output in outputs if output.path is not None]
    given = [Path(path) for path in inputs if path is not None]
    for number, (output, path) in enumerate(wanted):
        if os.path.isdir(path):  # unlike `Path.is_dir`, it bears names that are too long
            raise ConfigError(f"{output.option} {path} is a directory; give the name of a file")
        read = next((other for other in given if _same(path, other)), None)
        if read is not None:
            raise ConfigError(f"{output.option} would write over {path}, which this command reads; give another name")
        twice = next((other for other, place in wanted[:number] if _same(path, place)), None)
        if twice is not None:
            raise ConfigError(f"{twice.option} and {output.option} would both write {path}; give two names")
        _check_writable(path)
        if path.exists() and not _replaceable(path, output.kind):
            raise ConfigError(
                f"{output.option} would write over {path}, which is not {output.kind.name}; give another name, or "
                "remove that file"
            )


def check_folder(path: Path, mark: str) -> None:
    """Make the directory ``path``, with a hidden file that says which command fills it.

    Raises:
        ConfigError: it is a file, or a directory of other files: a command must not mix its own with them.
        ModelFileError: it cannot be made.
    """
    marked = path / f".{mark}"
    try:
        if path.exists() and not path.is_dir():
            raise ConfigError(f"--out {path} is a file; give the name of a directory")
        if path.is_dir() and any(path.iterdir()) and not marked.exists():
            raise ConfigError(f"--out {path} holds other files; give a new directory, or an empty one")
        path.mkdir(parents=True, exist_ok=True)
        marked.touch()
    except OSError as error:
        raise ModelFileError(f"cannot write into {path}: {error.strerror or error}; choose another folder") from None


def _replaceable(path: Path, kind: Kind) -> bool:
    if not path.is_file():
        return False
    try:
        return path.stat().st_size == 0 or kind.fits(path)
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile):
        return False


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return path.resolve() == other.resolve()


def _check_writable(path: Path) -> None:
    """Try it, under the name that `write_atomically` takes: permissions do not tell of full or read-only disks."""
    if not path.parent.is_dir():
        raise ModelFileError(f"cannot write {path}: there is no directory {path.parent}")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
        os.unlink(name)
    except OSError as error:
        raise ModelFileError(f"cannot write {path}: {error.strerror or error}; choose another folder") from None
