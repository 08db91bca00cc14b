"""The gateway on real sockets."""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from shared import benchmark, gateway


@contextlib.contextmanager
def opened(inside: int) -> Iterator[int]:
    """A gateway, as a process, to a port of loopback: its own port."""
    port = benchmark.free_port()
    command = [sys.executable, "-m", "shared.gateway", f"{port}=localhost:{inside}"]
    with subprocess.Popen(command) as process:
        until(lambda: socket.create_connection(("127.0.0.1", port), 5).close())
        try:
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def until(works: object) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            works()  # type: ignore[operator]
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_way_is_a_port_and_where_it_leads() -> None:
    assert gateway.way("3000=service:3001") == gateway.Way(3000, "service", 3001)
    for wrong in ("3000", "3000=service", "x=service:1", "3000=:1"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not PORT=HOST:PORT"):
            gateway.way(wrong)


def test_all_bytes_pass_both_ways_and_an_end_of_one_is_passed_on() -> None:
    sent = os.urandom(3_000_000)
    with socket.create_server(("127.0.0.1", 0)) as server, opened(server.getsockname()[1]) as port:

        async def exchange() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            writer.write_eof()  # and yet the answer comes
            found = await reader.read()
            writer.close()
            return found

        async def answer() -> None:
            loop = asyncio.get_running_loop()
            connection, _ = await loop.run_in_executor(None, first_with_content, server)
            reader, writer = await asyncio.open_connection(sock=connection)
            writer.write((await reader.read())[::-1])
            writer.close()

        async def both() -> bytes:
            return (await asyncio.gather(exchange(), answer()))[0]

        assert asyncio.run(both()) == sent[::-1]


def first_with_content(server: socket.socket) -> tuple[socket.socket, object]:
    """`opened` has tried the gateway before, with a connection that said nothing."""
    while True:
        connection, address = server.accept()
        connection.settimeout(30)
        if connection.recv(1, socket.MSG_PEEK):
            connection.setblocking(False)
            return connection, address
        connection.close()


def test_where_nobody_listens_a_connection_ends_and_the_gateway_stays_open() -> None:
    with opened(benchmark.free_port()) as port:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), 30) as connection:
                assert connection.recv(1) == b""


def test_a_client_that_resets_its_connection_is_gone_inside_too() -> None:
    """Else the service behind would not learn that nobody waits for its answer."""
    with socket.create_server(("127.0.0.1", 0)) as server, opened(server.getsockname()[1]) as port:
        client = socket.create_connection(("127.0.0.1", port), 30)
        client.sendall(b"x")
        inside, _ = first_with_content(server)
        inside.setblocking(True)
        inside.settimeout(30)
        assert inside.recv(1) == b"x"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with a reset
        with contextlib.suppress(ConnectionResetError):
            assert inside.recv(1) == b""
        inside.close()
