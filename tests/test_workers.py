"""Two workers of a service in an image: a dead one is replaced, as BentoML does it elsewhere."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import shipped

from shared import benchmark, container


def workers(process: psutil.Process) -> list[psutil.Process]:
    alive = [one for one in process.children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if "_bentoml_impl.worker" in " ".join(one.cmdline())]


def wait_for(number: int, process: psutil.Process, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while len(workers(process)) != number:
        assert time.monotonic() < deadline, f"{len(workers(process))} workers"
        time.sleep(0.1)


@pytest.mark.fault
def test_a_dead_worker_of_two_is_replaced_in_an_image(
    folder: Path, document: dict[str, Any], tmp_path: Path
) -> None:
    shipped.write(folder, document)
    port, image = str(benchmark.free_port()), {"BENTOML_CONTAINERIZED": "true"}
    command = [str(Path(sys.executable).parent / "bentoml"), "serve", "service"]
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | image | {"SERVICE_WORKERS": "2", "BENTOML_HOME": str(tmp_path)}
    with benchmark.running(
        [*command, "--host", "127.0.0.1", "--port", port],
        f"{url}/readyz",
        tmp_path / "log",
        cwd=folder,
        env=environment,
    ) as started:
        process = psutil.Process(started.pid)
        wait_for(2, process, 60)
        dead = workers(process)[0]
        dead.send_signal(signal.SIGKILL)
        wait_for(1, process, 5)
        assert container.status(f"{url}/readyz") == 200
        wait_for(2, process, 60)
        assert dead.pid not in {one.pid for one in workers(process)}
        assert container.request(f"{url}/multiply", "", b'{"number": 2}')[1]["product"] == 6.5
