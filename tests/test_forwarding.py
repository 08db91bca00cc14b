"""Store and forward against a real collector: down, refusing, cutting, lying, without a network."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shipped
from collecting import TOKEN, Collector
from killing import wait_for
from test_archives import TOKEN as TOKEN_OF_SERVICE
from test_archives import served
from test_outbox import log

from shared import benchmark, container, params
from shared.forwarding import Forwarder

ROOT = Path(__file__).parent.parent


class Sender:
    """The command as a process on the log in `folder`; what it says goes to `folder`/said."""

    def __init__(self, folder: Path, url: str, *more: str, prefix: tuple[str, ...] = ()) -> None:
        self.folder, self.said = folder, folder / "said"
        command = [*prefix, sys.executable, "-m", "shared.forwarding", "--to", url]
        command += ["--logs", str(folder), "--device", "d", "--retry-s", "0.05"]
        command += ["--most-retry-s", "0.2", "--timeout-s", "1", *more]
        own = {"FORWARD_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
        with self.said.open("a") as output:
            self.process = subprocess.Popen(command, env=os.environ | own, stderr=output)

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def says(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.said.read_text()


FAST = ("--kilobytes-per-second", "100000")


@pytest.mark.fault
def test_ten_thousand_records_arrive_once_each_oldest_first(tmp_path: Path) -> None:
    """The collector is down, answers 503, cuts connections; sender and service are killed."""
    address = ("127.0.0.1", benchmark.free_port())
    url = f"http://127.0.0.1:{address[1]}/records"
    log(tmp_path, range(3000))
    with Sender(tmp_path, url, *FAST) as sender:
        wait_for(sender.says("Connection refused"))
    with Sender(tmp_path, url, *FAST) as sender, Collector(address, "503") as collector:
        wait_for(sender.says("the collector answers 503"))
        collector.mode = "cut"
        wait_for(lambda: collector.doubles > 0)  # taken, not acknowledged, sent again
        log(tmp_path, range(3000, 7000))  # the service was restarted
        collector.mode = "ok"
        wait_for(lambda: len(collector.records) >= 2000)
        taken = collector
    with Sender(tmp_path, url, *FAST) as sender, Collector(address) as collector:
        collector.records = taken.records
        wait_for(lambda: len(collector.records) >= 5000)
        log(tmp_path, range(7000, 10_000))
        sender.process.kill()
        with Sender(tmp_path, url, *FAST):
            wait_for(lambda: len(collector.records) == 10_000)
            state = tmp_path / ".forwarded.json"
            wait_for(lambda: json.loads(state.read_text())["sent"] >= 10_000)
        assert collector.numbers() == list(range(10_000))
        assert json.loads(state.read_text())["lost"] == 0
        assert taken.doubles >= 1 and taken.wrong_tokens + collector.wrong_tokens == 0


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("portal", "JSONDecodeError"),
        ("302", "the collector answers 302"),
        ("401", "the collector answers 401"),
        ("413", "the collector answers 413"),
    ],
)
def test_what_is_no_delivery_is_sent_again(tmp_path: Path, mode: str, reason: str) -> None:
    log(tmp_path, range(10))
    with Collector(mode=mode) as collector, Sender(tmp_path, collector.url) as sender:
        wait_for(lambda: collector.asked >= 3)
        assert collector.records == {}
        assert reason in sender.said.read_text()
        assert len(sender.said.read_text().splitlines()) == 1, "the reason is said once"
        collector.mode = "ok"
        wait_for(lambda: collector.numbers() == list(range(10)))


def test_new_records_of_both_logs_follow_by_themselves(tmp_path: Path) -> None:
    with Collector() as collector, Sender(tmp_path, collector.url):
        log(tmp_path, range(2))
        wait_for(lambda: collector.numbers() == [0, 1])
        log(tmp_path, range(2, 4), "feedback")
        wait_for(lambda: collector.numbers("feedback") == [2, 3])
        assert {body["from"] for _, body in collector.bodies} == {"d"}


def test_what_a_service_answers_and_is_told_arrives_though_it_restarts(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    (tmp_path / "service").mkdir()
    shipped.write(tmp_path / "service", document)
    chain = {"model_version": "abc", "bento": "demo:1", "name": "demo"}
    params.write_json(tmp_path / "service/provenance.json", chain)
    logs, asked = tmp_path / "logs", []
    with Collector() as collector:
        for run in range(2):
            with served(tmp_path, SERVICE_LOG_FOLDER=str(logs)) as url, Sender(logs, collector.url):
                for number in range(5):
                    body = json.dumps({"number": 5 * run + number}).encode()
                    _, answer = container.request(url + "/multiply", TOKEN_OF_SERVICE, body)
                    asked.append(answer["request_id"])
                truth = json.dumps({"request_id": asked[-1], "truth": 1.0}).encode()
                container.request(url + "/feedback", TOKEN_OF_SERVICE, truth)
                wait_for(lambda run=run: len(collector.records) == 6 * (run + 1))
    found = [one for one in collector.records.values() if one["log"] == "requests"]
    assert [one["record"]["id"] for one in found] == asked
    assert [one["record"]["number"] for one in found] == list(range(10))
    truths = [one["record"]["id"] for one in collector.records.values() if one not in found]
    assert truths == [asked[4], asked[9]]


def test_the_bandwidth_is_bounded(tmp_path: Path) -> None:
    log(tmp_path, range(6000))
    with Collector() as collector:
        begin = time.monotonic()
        with Sender(tmp_path, collector.url, "--kilobytes-per-second", "200"):
            wait_for(lambda: len(collector.records) == 6000)
        seconds, sizes = time.monotonic() - begin, [size for size, _ in collector.bodies]
    assert len(sizes) == 12 and sum(sizes[:-1]) / 200e3 <= seconds


def test_waits_grow_and_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(tmp_path, range(1))
    address = f"http://127.0.0.1:{benchmark.free_port()}/"
    forwarder, waits = Forwarder(tmp_path, address, "d", retry_s=1, most_retry_s=60), []

    def wait(seconds: float, spread: bool = True) -> None:
        waits.append(seconds)
        if len(waits) == 9:
            raise KeyboardInterrupt

    monkeypatch.setattr(forwarder, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        forwarder.run()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_on_a_disk_that_takes_nothing_it_sends_on_and_says_so(tmp_path: Path) -> None:
    log(tmp_path, range(3))
    with Collector() as collector, Sender(tmp_path, collector.url) as sender:
        wait_for(lambda: len(collector.records) == 3)
        state = tmp_path / ".forwarded.json"
        wait_for(lambda: json.loads(state.read_text())["sent"] == 3)
        state.unlink()
        state.mkdir()
        log(tmp_path, range(3, 6))
        wait_for(sender.says("after a restart perhaps again"))
        assert collector.numbers() == list(range(6))
    done = Sender(tmp_path, "http://127.0.0.1:9/")
    assert done.process.wait(30) == 1 and "directory" in done.said.read_text()


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    for address in ("collector.example", "ftp://collector.example/", "http:///records"):
        with pytest.raises(SystemExit, match="an address with http or https is needed"):
            Forwarder(tmp_path, address, "d")


@contextlib.contextmanager
def network() -> Iterator[tuple[str, str, Callable[[str], None]]]:
    """A network namespace, the address of this machine in it, and what switches its link."""
    name = f"forward{secrets.token_hex(3)}"
    outer, inner = f"o{name[-6:]}", f"i{name[-6:]}"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    try:
        ip("netns", "add", name)
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        ip("address", "add", "198.18.73.1/30", "dev", outer)
        ip("link", "set", outer, "up")
        ip("-n", name, "address", "add", "198.18.73.2/30", "dev", inner)
        ip("-n", name, "link", "set", inner, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        pytest.skip(f"no network namespaces here: {error}")
    try:
        yield name, "198.18.73.1", lambda state: ip("link", "set", outer, state)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and ip")
def test_a_cut_network_delays_and_loses_nothing(tmp_path: Path) -> None:
    log(tmp_path, range(1000))
    with network() as (name, host, link), Collector((host, 0)) as collector:
        inside = ("ip", "netns", "exec", name)
        with Sender(tmp_path, collector.url, *FAST, prefix=inside) as sender:
            wait_for(lambda: len(collector.records) == 1000)
            link("down")
            log(tmp_path, range(1000, 3000))
            wait_for(sender.says("waits"))
            log(tmp_path, range(3000, 4000))
            assert len(collector.records) == 1000
            link("up")
            wait_for(lambda: len(collector.records) == 4000)
        assert collector.numbers() == list(range(4000))
