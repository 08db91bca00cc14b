"""One load: how many requests or calls per second, and how long each took."""

import json
import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Requests are put together before the clock runs; what is told comes as one line of JSON.
WRK = """
local asked, at = {}, 0
function init(arguments)
  wrk.headers["Content-Type"] = arguments[1]
  for i = 2, #arguments do
    local file = assert(io.open(arguments[i], "rb"))
    asked[i - 1] = wrk.format("POST", nil, nil, file:read("*a"))
    file:close()
  end
end
function request()
  at = at % #asked + 1
  return asked[at]
end
function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format('{"refused": %d, "lost": %d, "rate": %f, "p50": %f, "p99": %f}',
    errors.status, lost, summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """What a candidate did in one measurement; times in milliseconds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def requests(url: str, bodies: Sequence[bytes], kind: str, clients: int, seconds: float) -> Load:
    """POST the bodies in turn from `clients` connections for `seconds`, with wrk.

    wrk (`make tools`) takes little of the processor that the servers share with it.
    Raises RuntimeError on an answer but 200.
    """
    if not shutil.which("wrk"):
        raise SystemExit("wrk not found: run `make tools` (Debian's package)")
    with tempfile.TemporaryDirectory() as temporary:
        script, files = Path(temporary) / "script.lua", []
        script.write_text(WRK)
        for number, body in enumerate(bodies):
            files.append(f"{temporary}/{number}")
            Path(files[-1]).write_bytes(body)
        command = ["wrk", "-t1", f"-c{clients}", f"-d{math.ceil(seconds)}s", "--timeout", "60s"]
        command += ["-s", str(script), url, "--", kind, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    if told["refused"] or told["lost"] or not told["rate"]:
        raise RuntimeError(f"{url}: {told['refused']} refused, {told['lost']} lost")
    return Load(told["rate"], told["p50"], told["p99"])


def calls(
    function: Callable[[Any], Any], inputs: Sequence[Any], threads: int, seconds: float
) -> Load:
    """Call `function` on the inputs in turn from `threads` threads for `seconds`; no server."""
    begin = time.perf_counter()
    end = begin + seconds

    def worker(first: int) -> list[float]:
        taken, number = [], first
        while (start := time.perf_counter()) < end:
            function(inputs[number % len(inputs)])
            taken.append(time.perf_counter() - start)
            number += threads
        return taken

    with ThreadPoolExecutor(threads) as pool:
        taken = [value for part in pool.map(worker, range(threads)) for value in part]
    return _load(taken, time.perf_counter() - begin)


def _load(taken: Sequence[float], seconds: float) -> Load:
    p50, p99 = np.quantile(np.array(taken) * 1e3, [0.5, 0.99])
    return Load(len(taken) / seconds, float(p50), float(p99))
