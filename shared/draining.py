"""Tells a service's container to stop while requests arrive: none may be lost."""

import contextlib
import socket
import threading
import time
import urllib.request

from shared import container, engine
from shared.container import Container, expect

GRACE_S = 30  # between SIGTERM and SIGKILL; Kubernetes has the same
IN_PROGRESS = "service_requests_in_progress "
AT_A_TIME = 4  # requests in progress when it is told to stop


def drains(
    service: Container, path: str, body: bytes, at_a_time: int = AT_A_TIME, grace_s: int = GRACE_S
) -> float:
    """Told to stop while requests arrive, it answers them, takes no new one and ends with code 0.

    grace_s: between SIGTERM and SIGKILL. Gives the seconds from SIGTERM to the end.
    """
    sockets = [begun(service, path, body) for _ in range(at_a_time)]
    in_progress(service, at_a_time)
    begin = time.monotonic()
    command = ("stop", "--time", str(grace_s), service.identity)
    stopping = threading.Thread(target=engine.docker, args=command)
    stopping.start()
    # BentoML's parent process keeps the socket open: who comes now waits in vain, or is refused.
    while container.status(service.url + "/readyz", seconds=0.5) == 200:
        expect(time.monotonic() < begin + grace_s, "it goes on taking requests")
        time.sleep(0.05)
    for connection in sockets:  # all before the first answer, which may take longer than a body may
        complete(connection, body)
    codes = [answered(connection) for connection in sockets]
    stopping.join()
    expect(codes == [200] * at_a_time, f"requests in progress at SIGTERM got {codes}")
    code = container.inspect(service.identity, "State.ExitCode")
    expect(code == "0", f"it ended with code {code}:\n{container.log(service.identity)[-2000:]}")
    return time.monotonic() - begin


def begun(service: Container, path: str, body: bytes) -> socket.socket:
    """A request of which the last byte is missing; it counts as in progress."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=container.PATIENCE_S)
    head = [f"POST {path} HTTP/1.1", f"host: {host}", f"authorization: Bearer {service.token}"]
    head += ["content-type: application/json", f"content-length: {len(body)}", "", ""]
    connection.sendall("\r\n".join(head).encode() + body[:-1])
    return connection


def in_progress(service: Container, number: int) -> None:
    """Wait until the service counts so many requests."""
    deadline, asked = time.monotonic() + 10, request_metrics(service)
    while asked < number:
        expect(time.monotonic() < deadline, f"{asked} of {number} requests arrived")
        time.sleep(0.05)
        asked = request_metrics(service)


def request_metrics(service: Container) -> float:
    asked = urllib.request.Request(service.url + "/metrics", headers=container.bearer(service))  # noqa: S310
    with urllib.request.urlopen(asked, timeout=10) as response:  # noqa: S310 (our own service)
        lines = response.read().decode().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(IN_PROGRESS)]
    return float(value)


def complete(connection: socket.socket, body: bytes) -> None:
    """Send the last byte; what comes of it, or of a closed connection, `answered` says."""
    with contextlib.suppress(OSError):
        connection.sendall(body[-1:])


def answered(connection: socket.socket) -> int:
    """The status of the answer; 0 without one."""
    try:
        with connection:
            line = connection.makefile("rb").readline().split()
            return int(line[1]) if len(line) > 1 else 0
    except OSError:
        return 0
