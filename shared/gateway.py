"""The one way into a network without a way out: TCP ports, forwarded to hosts inside.

    python -m shared.gateway 3000=service:3000 5000=mlflow:5000

It alone is on two networks, holds nothing and reads nothing.
"""

import argparse
import asyncio
import contextlib
import functools
import signal
from typing import NamedTuple

PIECE = 65536  # bytes


class Way(NamedTuple):
    """From a port, on all addresses, to a host inside."""

    port: int
    host: str
    inside: int


def way(text: str) -> Way:
    """Of e.g. 3000=service:3000. Raises argparse.ArgumentTypeError for anything else."""
    port, _, goal = text.partition("=")
    host, _, inside = goal.rpartition(":")
    if not (host and port.isdigit() and inside.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT=HOST:PORT, e.g. 3000=service:3000")
    return Way(int(port), host, int(inside))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To the end of one direction, which is passed on; the other may go on. A reset is, too, and
    ends both."""
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def pass_on(one: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A connection, until both sides have ended; who is not there ends it at once."""
    with contextlib.closing(writer), contextlib.suppress(OSError):
        there, back = await asyncio.open_connection(one.host, one.inside)
        with contextlib.closing(back):
            await asyncio.gather(copy(reader, back), copy(there, writer))


async def serve(ways: list[Way], host: str = "0.0.0.0") -> None:  # noqa: S104 (published on loopback)
    """Until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    for one in ways:
        await asyncio.start_server(functools.partial(pass_on, one), host, one.port)
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ways", nargs="+", type=way, help="PORT=HOST:PORT")
    asyncio.run(serve(parser.parse_args().ways))


if __name__ == "__main__":
    main()
