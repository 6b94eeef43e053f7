"""Labels of many structures from many teachers: in parallel, resumable, with every failure kept and named."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from jax_models.errors import ConfigError, JaxffError
from jaxff.knowledge.teachers import Teacher

if TYPE_CHECKING:
    from ase import Atoms

Answer = dict[str, Any]
"""``energy`` (eV), ``forces`` (eV/Å), ``stress`` (eV/Å³, Voigt, or None); or ``error``, a text."""


def label(
    frames: Sequence[Atoms],
    teachers: Sequence[Teacher],
    journal: Path,
    workers: int = 2,
    timeout: float = 300.0,
    progress: Callable[[int], None] | None = None,
    threads: int = 1,
) -> list[dict[str, Answer]]:
    """What each teacher says of each frame.

    Args:
        journal: every answer is appended to this file at once; those that it holds already are not asked for again.
        workers: processes. One that dies, or takes longer than ``timeout`` seconds over a structure, is replaced, and
            the structure has that failure as its answer.
        progress: called with the number of answers that have come in.
        threads: that each process may use.

    Returns:
        For each frame, the answer of each teacher by its name.

    Raises:
        ConfigError: a teacher's files are not there, or the journal cannot be written.
    """
    digests = {teacher.name: teacher.digest() for teacher in teachers}
    known = read_journal(journal)
    wanted = [(number, teacher) for number in range(len(frames)) for teacher in teachers]
    keys = {(n, t.name): answer_key(frames[n], digests[t.name]) for n, t in wanted}
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    asked = set()
    for number, teacher in wanted:
        key = keys[number, teacher.name]
        if key not in known and key not in asked:
            asked.add(key)
            jobs.put((key, request(frames[number], teacher)))
    done: queue.SimpleQueue = queue.SimpleQueue()
    progress and progress(len(keys) - len(asked))
    try:
        record = journal.open("a")
    except OSError as error:
        raise ConfigError(f"cannot write {journal}: {error.strerror}") from None
    stop = threading.Event()
    askers = [
        threading.Thread(target=_work, args=(jobs, done, timeout, stop, threads), daemon=True)
        for _ in range(min(workers, len(asked)))
    ]
    with record:
        try:
            for asker in askers:
                asker.start()
            for number in range(len(asked)):
                key, found = done.get()
                if isinstance(found, BaseException):
                    raise found
                known[key] = found
                print(json.dumps({"key": key, **found}), file=record, flush=True)
                progress and progress(len(keys) - len(asked) + number + 1)
        finally:
            stop.set()
            for asker in askers:
                asker.join()
    return [{t.name: known[keys[n, t.name]] for t in teachers} for n in range(len(frames))]


def read_journal(path: Path) -> dict[str, Answer]:
    """The answers in a journal; a damaged line, as an interruption may leave one, counts as not answered."""
    answers = {}
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
                answers[entry.pop("key")] = entry
            except (ValueError, AttributeError, KeyError):
                continue
        with path.open("rb+") as file:  # the next answer must not be appended to half a line
            if file.read()[-1:] not in (b"", b"\n"):
                file.write(b"\n")
    return answers


def answer_key(atoms: Atoms, teacher_digest: str) -> str:
    """Tells an answer by the structure and the teacher it is of."""
    digest = hashlib.sha256(teacher_digest.encode())
    for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
        digest.update(np.ascontiguousarray(array, float).tobytes())
    return digest.hexdigest()


def request(atoms: Atoms, teacher: Teacher) -> dict[str, Any]:
    """What a worker is sent."""
    simple = {key: atoms.info[key] for key in ("charge", "spin") if isinstance(atoms.info.get(key), int | float)}
    return {
        "teacher": teacher.model_dump(),
        "folder": str(Path(teacher.folder).resolve()),
        "symbols": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "info": simple,
    }


@dataclass
class Worker:
    """A process of `jaxff.knowledge.worker`."""

    process: subprocess.Popen
    noise: Path

    @staticmethod
    def start(folder: Path, number: int, threads: int = 1) -> Worker:
        noise = folder / f"worker-{number}"
        noise.touch()
        command = [sys.executable, "-m", "jaxff.knowledge.worker", str(noise)]
        environment = _with_threads(threads)
        return Worker(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
            ),
            noise,
        )

    def ask(self, question: dict[str, Any], timeout: float, stop: threading.Event) -> Answer | None:
        """The answer; None if the labelling was stopped while waiting."""
        questions, answers = self._pipes
        try:
            questions.write(json.dumps(question).encode() + b"\n")
            questions.flush()
        except OSError:
            return self._died()
        waited = 0.0
        while not stop.is_set():
            ready, _, _ = select.select([answers], [], [], 0.2)
            if ready:
                line = answers.readline()
                return self._read(line) if line.endswith(b"\n") else self._died()
            waited += 0.2
            if waited > timeout:
                self.end()
                return {"error": f"it took longer than {timeout:g} s"}
        return None

    def _read(self, line: bytes) -> Answer:
        try:
            return json.loads(line)
        except ValueError:  # a teacher wrote between the answers: what comes next may belong to any question
            self.end()
            shown = line.decode(errors="replace").strip()[:80]
            return {"error": f"its process wrote something that is no answer: {shown!r}"}

    def end(self) -> None:
        # The whole group: a DFT code is a child of the process that asks for it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in self._pipes:
            pipe.close()

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """Where questions go, and where answers come from."""
        questions, answers = self.process.stdin, self.process.stdout
        if questions is None or answers is None:
            raise JaxffError("a labelling worker was started without pipes; start it with Worker.start")
        return questions, answers

    def _died(self) -> Answer:
        status = self.process.wait()
        last = [line.strip() for line in self.noise.read_text(errors="replace").splitlines() if line.strip()]
        how = f"signal {-status}" if status < 0 else f"status {status}"
        told = next((line for line in reversed(last) if "ERROR" in line), last[-1] if last else "")
        return {"error": f"its process died with {how}" + (f": {told}" if told else "")}


def _work(
    jobs: queue.SimpleQueue, done: queue.SimpleQueue, timeout: float, stop: threading.Event, threads: int
) -> None:
    """One thread: keeps one worker alive and hands it jobs."""
    worker = None
    try:
        with tempfile.TemporaryDirectory(prefix="jaxff-label-") as folder:
            for number, (key, question) in enumerate(_until_empty(jobs, stop)):
                if worker is None or worker.process.poll() is not None:
                    worker = Worker.start(Path(folder), number, threads)
                found = worker.ask(question, timeout, stop)
                if found is not None:
                    done.put((key, found))
    except BaseException as error:  # the thread that waits for answers must hear of it
        done.put(("", error))
    finally:
        if worker is not None and worker.process.poll() is None:
            worker.end()


def _until_empty(jobs: queue.SimpleQueue, stop: threading.Event) -> Iterator[Any]:
    while not stop.is_set():
        try:
            yield jobs.get_nowait()
        except queue.Empty:
            return


def _with_threads(number: int) -> dict[str, str]:
    """The environment of a worker. One thread, where not said otherwise: the processes are the parallelism."""
    paths = [path for path in sys.path if path]
    threads = {name: str(number) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)}
