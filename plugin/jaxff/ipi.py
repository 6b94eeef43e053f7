"""A client of i-PI: energies, forces and virials over a socket, for any program that speaks its protocol.

Protocol: Kapil et al., Comput. Phys. Commun. 236, 214 (2019).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.socketio import SocketClient, actualunixsocketname

from jax_models.errors import ConfigError, StructureError


def connected(port: int | None = None, host: str = "localhost", unix: str | None = None) -> SocketClient:
    """A connection to a server that listens at ``host`` and ``port``, or on this machine at /tmp/ipi_``unix``.

    Raises:
        ConfigError: nobody listens there; the text says what to check.
    """
    place = f"{host}:{port}" if unix is None else actualunixsocketname(unix)
    try:
        return SocketClient(host=host, port=port, unixsocket=unix)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"nobody listens at {place} ({getattr(error, 'strerror', None) or error}): start i-PI first, with an "
            f"<ffsocket> of {'mode inet and this address and port' if unix is None else 'mode unix and this address'}"
        ) from None


def run_client(
    client: SocketClient, atoms: Atoms, calculator: Calculator, done: Callable[[int], None] = lambda number: None
) -> int:
    """Answer until the server ends, and say how often that was.

    Args:
        atoms: elements and their order, and which directions are periodic, as the server has them. Positions and cell
            come from it.
        done: called after each evaluation with their number.

    Raises:
        StructureError: the server has another number of atoms, or a structure that cannot be evaluated.
        ConfigError: the connection broke.
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    number = 0
    given = len(atoms)
    with contextlib.closing(client):
        client.protocol.recvposdata = _checked(client.protocol.recvposdata, given)
        try:
            # A stress belongs to a cell; i-PI gives one to molecules, too.
            for _ in client.irun(atoms, use_stress=bool(atoms.pbc.all())):
                number += 1
                done(number)
        except (AssertionError, KeyError):
            raise ConfigError(
                "the server sent what is no message of i-PI's protocol, or a number that is not finite"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"the connection broke after {number} evaluations ({error.strerror or error}); what the server wrote "
                "last says why"
            ) from None
    return number


def _checked(receive: Callable, given: int) -> Callable:
    """``receive``, which refuses another number of atoms than ``given``."""

    def received():
        cell, inverse, positions = receive()
        if len(positions) != given:
            raise StructureError(
                f"the server sends {len(positions)} atoms, but --structure has {given}: give the structure that it "
                "started from, with its atoms in the same order"
            )
        return cell, inverse, positions

    return received
