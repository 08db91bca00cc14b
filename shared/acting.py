"""Acts on incidents, one at a time: retrains in a subprocess, rolls back, and notes every step.

Whoever acts holds live/.acting.lock, so what began and did not finish was killed: its processes,
if any are left, are ended, and it is tried again once.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil
from filelock import FileLock, Timeout

from shared import audit, incidents, lineage, objectives, releasing
from shared.incidents import Incident

TAIL = 4000  # bytes of a failed retraining's output that are looked at


class Limits(NamedTuple):
    """Seconds: between retrainings, of a new model on probation, of one retraining."""

    at_most_every: float
    probation: float
    timeout: float


class Acting:
    """Acts for the blueprint beside `live`; `service` is the address that retrain.py waits for."""

    def __init__(self, live: Path, limits: Limits, service: str | None = None) -> None:
        self.live, self.limits, self.service = live.resolve(), limits, service
        self.name = objectives.load(self.live.parent / "objectives.yaml").name
        self.stopping, self.wake = threading.Event(), threading.Event()
        self.live.mkdir(parents=True, exist_ok=True)

    def note(self, event: str, incident: Incident, **details: object) -> None:
        names = {"key_result": incident.key_result, "incident": incident.name}
        audit.append(event, self.live, **{**names, **details})

    def known(self) -> dict[str, Incident]:
        return incidents.known(audit.read(self.live))

    def decide(self, incident: Incident) -> tuple[incidents.Do, str]:
        changes = lineage.history(self.live)
        limits = (self.limits.at_most_every, self.limits.probation)
        return incidents.decide(incident, self.known(), changes, time.time(), *limits)

    def work(self) -> None:
        """Act on what waits until `stopping` is set; `wake` says that there is more."""
        while not self.stopping.is_set():
            self.wake.clear()
            try:
                with self.alone(1.0):
                    self.recover()
                    while (due := incidents.waiting(self.known())) and not self.stopping.is_set():
                        self.act(due[0])
            except Timeout:  # `once` is at work
                continue
            except (Exception, SystemExit) as error:  # a full disk, a broken file: tried again
                print(f"actions: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            self.wake.wait(60)

    def alone(self, timeout: float) -> contextlib.AbstractContextManager[object]:
        """Raises Timeout when another process acts for so many seconds."""
        return FileLock(self.live / ".acting.lock").acquire(timeout=timeout)

    def recover(self) -> None:
        """Take up what a kill left behind."""
        lineage.settle(self.live)
        for incident in self.known().values():
            if incident.state == "running":
                self.end_processes(incident)
                self.note("interrupted", incident)
                if incident.tries >= incidents.TRIES:
                    self.note("retrain_failed", incident, reason="was interrupted twice")

    def act(self, incident: Incident) -> str:
        """Do what is to be done; gives the event in which it ended."""
        do, why = self.decide(incident)
        if do == "retrain":
            return self.retrain(incident)
        if do == "skip":
            return self.end("skipped", incident, reason=why)
        bad = lineage.current(self.live)
        try:
            to = releasing.rollback(self.live)
        except audit.Refused as refused:
            return self.end("refused", incident, reason=str(refused).removeprefix("refused: "))
        return self.end("rolled_back", incident, reason=why, version=bad, to=to)

    def end(self, event: str, incident: Incident, **details: object) -> str:
        self.note(event, incident, **details)
        return event

    def retrain(self, incident: Incident) -> str:
        """retrain.py in a session of its own; its output is live/retrain.log."""
        self.note("retrain_started", incident)
        told = {audit.KEY_RESULT: incident.key_result}
        told |= {audit.SERVICE: self.service} if self.service else {}
        log, reason = self.live / "retrain.log", ""
        log.write_bytes(b"")
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "retrain.py", f"--key-result={incident.key_result}"],
                cwd=self.live.parent,
                env=dict(os.environ) | self.marks(incident) | told,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + self.limits.timeout
        while process.poll() is None and not self.stopping.is_set() and not reason:
            if time.monotonic() > deadline:
                reason = f"took longer than {self.limits.timeout:g} s"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        self.end_processes(incident)
        code = process.wait()
        if self.stopping.is_set() and code:
            return "interrupted"  # noted by the next one who acts
        return self.conclude(incident, code, reason)

    def conclude(self, incident: Incident, code: int, reason: str) -> str:
        """Note how a retraining ended: by its exit code and the last line that it wrote."""
        if code == 0:
            return self.end("retrain_finished", incident)
        said = audit.tail(self.live / "retrain.log", TAIL).decode(errors="replace").strip()
        last = said.rpartition("\n")[2]
        if not reason and last.startswith("refused: "):
            return self.end("refused", incident, reason=last.removeprefix("refused: "))
        reason = reason or f"exit code {code}"
        return self.end("retrain_failed", incident, reason=reason, output=said[-1500:])

    def marks(self, incident: Incident) -> dict[str, str]:
        """Environment variables by which a retraining and all its children are known."""
        return {audit.FOLDER: str(self.live), audit.INCIDENT: incident.name}

    def end_processes(self, incident: Incident) -> None:
        """Kill every process that was started for the incident, also of a server killed before."""
        marks = self.marks(incident).items()
        while found := [process for process in psutil.process_iter() if marks <= _marks(process)]:
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            time.sleep(0.05)  # not psutil's waiting, which would take the exit code from `retrain`


def _marks(process: psutil.Process) -> set[tuple[str, str]]:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return set(process.environ().items()) if alive else set()
    except (psutil.Error, OSError):
        return set()
