"""The live stack in one container, without compose: what the image `...-single` runs.

    docker run -d --init --read-only --tmpfs /tmp --cap-drop ALL --restart unless-stopped \\
      -e SERVICE_TOKEN=... -v cv:/app/live -v cv-cache:/app/.dvc/cache -p 127.0.0.1:3000:3000 IMAGE

Its parts listen on loopback inside, and ways lead to three of them: the service (3000), Prometheus
(9090), Alertmanager (9093). When one ends, all end, so that the engine starts them again.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil

from shared import bootstrap, gateway, live
from shared.gateway import Way

INSIDE = live.Ports(13000, 19464, 19090, 19093, 19099)
WAYS = [Way(outside, "127.0.0.1", outside + 10000) for outside in (3000, 9090, 9093)]
LIVE, TOKEN = Path("live"), Path("/tmp/token")  # noqa: S108 (in memory, this container's)


async def watched(parts: list[psutil.Process]) -> None:
    """Open the ways until SIGTERM. Raises SystemExit with the first part that ends before."""
    ways = asyncio.create_task(gateway.serve(WAYS))
    while not ways.done():
        await asyncio.wait([ways], timeout=1)
        for part in parts:
            if not part.is_running() or part.status() == psutil.STATUS_ZOMBIE:
                raise SystemExit(f"single: process {part.pid} has ended; see the logs in {LIVE}")


def main() -> None:
    if not (token := os.environ.get("SERVICE_TOKEN")) and os.environ.get("SERVICE_OPEN") != "1":
        raise SystemExit("single: set SERVICE_TOKEN, or SERVICE_OPEN=1 behind a proxy")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # until the ways are open
    if token:
        TOKEN.touch(mode=0o600)
        TOKEN.write_text(token, encoding="utf-8")
        os.environ["SERVICE_TOKEN_FILE"] = str(TOKEN)
    bootstrap.main()
    with live.stack_of(LIVE, INSIDE, interval=5, every=10, actions=[]):
        asyncio.run(watched(psutil.Process().children()))


if __name__ == "__main__":
    main()
