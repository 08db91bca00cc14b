"""What people are told of incidents, and how often."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_actions import alert, app, ask, events, started, tell, wait_for_event, webhook

__all__ = ["app"]


@pytest.fixture
def people() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """Where pages go: address, what came, and the status of the next answers."""
    came: list[dict[str, Any]] = []
    statuses: list[int] = []

    class Pager(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pager)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", came, statuses
    server.shutdown()


def test_people_get_each_page_and_its_end_once_also_after_an_outage_of_theirs(
    app: Path, people: tuple[str, list[dict[str, Any]], list[int]]
) -> None:
    """Goal M5: of an incident that Alertmanager tells of a hundred times."""
    url, came, statuses = people
    page, ticket = alert("a1", action="page"), alert("a2", action="ticket")
    (app / "mode").write_text("waits")
    with started(app, "--forward", url) as server:
        statuses.append(503)
        status, answer = ask(f"{server.url}/alerts", webhook(page, ticket, alert("a3")))
        assert status == 502 and answer["field"] == "forward"
        wait_for_event(server.live, "data_appended")
        for _ in range(100):  # while it retrains
            tell(server, page, ticket)
        (app / "go").touch()
        wait_for_event(server.live, "retrain_finished")
        statuses.append(503)
        ended = [one | {"status": "resolved"} for one in (page, ticket)]
        assert ask(f"{server.url}/alerts", webhook(*ended))[0] == 502
        for _ in range(3):
            tell(server, *ended)
    assert [len(one["alerts"]) for one in came] == [2] * 4, "503 to the first, and to its end"
    assert came[1]["version"] == "4" and came[1]["receiver"] == "actions"
    assert came[1]["alerts"][0]["annotations"] == page["annotations"]
    said = [{one["status"] for one in part["alerts"]} for part in came]
    assert said == [{"firing"}, {"firing"}, {"resolved"}, {"resolved"}]
    assert events(server.live).count("page") == events(server.live).count("ticket") == 1
    assert events(server.live).count("alert") == 3 and events(server.live).count("resolved") == 2
