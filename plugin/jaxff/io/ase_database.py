"""ASE's databases: every row of an SQLite file (.db), or of an LMDB file as fairchem writes them (.aselmdb)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jax_models.errors import DatasetError


def read_database(path: Path) -> list[Any]:
    """All rows as atoms, with their key-value pairs and data in ``atoms.info``.

    Raises:
        FileNotFoundError: there is no such file; ASE would make one.
        DatasetError: an LMDB file, and the package that reads those is not installed.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    frames = []
    with _opened(path) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            atoms.info.update({key: value for key, value in row.data.items() if key not in atoms.info})
            frames.append(atoms)
    return frames


def _opened(path: Path) -> Any:
    if path.suffix.lower() == ".db":
        import ase.db

        return ase.db.connect(path, type="db", use_lock_file=False)
    try:
        from ase_db_backends.aselmdb import LMDBDatabase
    except ImportError:
        raise DatasetError(
            f"{path} needs a package that reads ASE's rows from LMDB: pip install 'jaxff[lmdb]', or ase-db-backends"
        ) from None
    return LMDBDatabase(path, readonly=True, use_lock_file=False)
