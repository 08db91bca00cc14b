"""What was written is on the disk within about a second, by a thread that no writer waits for."""

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable

EVERY_S = 1.0


class Disk:
    """One thread for all files of this process; it begins with the first record."""

    def __init__(
        self,
        fsync: Callable[[int], None] = os.fsync,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.fsync, self.sleep = fsync, sleep
        self.lock, self.due = threading.Lock(), threading.Event()
        self.written, self.ended = set[int](), set[int]()
        self.begun = False

    def wrote(self, descriptor: int, last: bool = False) -> None:
        """Sync a file soon, and close it then if this was the last that is written to it."""
        if descriptor in self.written and self.begun and not last:
            return
        with self.lock:
            self.written.add(descriptor)
            if last:
                self.ended.add(descriptor)
            if not self.begun:
                self._begin()
            self.due.set()

    def sync(self) -> None:
        """Wait until all that was written before is on the disk."""
        with self.lock:
            self.due.clear()
            written, self.written = self.written, set()
            ended, self.ended = self.ended, set()
        for descriptor in written:
            with contextlib.suppress(OSError):  # no disk, or the file was dropped by another host
                self.fsync(descriptor)
            if descriptor in ended:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _begin(self) -> None:
        with contextlib.suppress(RuntimeError):  # too many threads; the next record tries again
            threading.Thread(target=self._run, name="syncing", daemon=True).start()
            atexit.register(self.sync)
            self.begun = True

    def _run(self) -> None:
        while self.due.wait():
            self.sync()
            self.sleep(EVERY_S)


DISK = Disk()
