"""pip-audit against a database on loopback: no green answer where nothing was looked up."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from shared import benchmark, hashes, vulnerabilities


def advisory(name: str, fixed: str) -> dict[str, Any]:
    """As OSV writes them."""
    events = [{"introduced": "0"}, {"fixed": fixed}]
    affected = {
        "package": {"name": name, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": f"TEST-{name}", "summary": "a hole", "affected": [affected]}


@contextmanager
def database(known: dict[str, str], status: int = 200) -> Iterator[str]:
    """An address that answers as OSV does; known: package -> the version that is mended."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            asked = json.loads(self.rfile.read(size))
            name, version = asked["package"]["name"], asked["version"]
            old = name in known and version != known[name]
            body = json.dumps({"vulns": [advisory(name, known[name])]} if old else {}).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_packages_without_a_known_hole_pass() -> None:
    with database({"jinja2": "3.1.6"}) as url:
        assert vulnerabilities.scan(["jinja2==3.1.6", "idna==3.20"], url) == []


def test_a_hole_is_named_with_the_version_that_has_it_no_more() -> None:
    with database({"jinja2": "3.1.6", "idna": "3.7"}) as url:
        assert vulnerabilities.scan(["idna==3.6"], url) == ["idna==3.6: TEST-idna, mended in 3.7"]


def test_a_database_that_cannot_be_reached_is_no_result() -> None:
    nobody = f"http://127.0.0.1:{benchmark.free_port()}"
    with pytest.raises(SystemExit, match=r"nothing was scanned: .* gave no answer"):
        vulnerabilities.scan(["idna==3.20"], nobody)


def test_a_database_that_refuses_is_no_result() -> None:
    answer = pytest.raises(SystemExit, match=r"nothing was scanned: .* gave no answer")
    with database({"jinja2": "3.1.6"}, status=503) as url, answer:
        vulnerabilities.scan(["idna==3.20"], url)


def test_a_database_that_knows_nothing_is_no_result() -> None:
    answer = pytest.raises(SystemExit, match="does not know that jinja2")
    with database({}) as url, answer:
        vulnerabilities.scan(["idna==3.20"], url)


def test_a_package_that_was_skipped_is_no_result() -> None:
    """So pip-audit reports what it could not look up."""
    skipped = {"name": "idna", "skip_reason": "Dependency not found on PyPI"}
    with pytest.raises(SystemExit, match=r"not scanned: idna==3\.20"):
        vulnerabilities.found({"dependencies": [skipped]}, ["idna==3.20"])
    with pytest.raises(SystemExit, match="not scanned: anything"):
        vulnerabilities.found({"dependencies": []}, [])


def test_the_command_ends_with_one_where_there_is_a_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(hashes.hashed(["idna==3.20", "h11==0.16.0"]))
    for known, code in (({"jinja2": "3.1.6"}, None), ({"jinja2": "3.1.6", "h11": "9.0"}, 1)):
        with database(known) as url:
            monkeypatch.setattr("sys.argv", ["scan", str(file), "--osv-url", url])
            if code:
                with pytest.raises(SystemExit) as ended:
                    vulnerabilities.main()
                assert ended.value.code == code
            else:
                vulnerabilities.main()
        assert f"2 packages scanned, {code or 0} vulnerabilities" in capsys.readouterr().out
