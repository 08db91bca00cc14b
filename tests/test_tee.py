import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared import container
from shared.tee import Tee, distance


def doubling(error: float = 0.0, status: int = 200) -> ThreadingHTTPServer:
    """A service that gives twice the number, and its own request id."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = {"double": 2 * asked["number"] + error, "request_id": str(id(self))}
            content |= {"token": self.headers["authorization"]}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def servers() -> Iterator[dict[str, str]]:
    made = {"right": doubling(), "off": doubling(1e-4), "refusing": doubling(status=400)}
    made |= {"unknown": doubling(status=404), "unanswered": doubling(status=422)}
    yield {name: f"http://127.0.0.1:{one.server_address[1]}" for name, one in made.items()}
    for server in made.values():
        server.shutdown()
        server.server_close()


def ask(one: str, other: str, tolerance: float = 0.0) -> tuple[Tee, object]:
    with Tee(one, other, "secret", tolerance) as tee:
        _, answer = container.request(tee.url + "/double", "none", b'{"number": 4}')
    return tee, answer


def test_the_same_answers_are_no_difference_and_the_first_is_given(
    servers: dict[str, str],
) -> None:
    tee, answer = ask(servers["right"], servers["right"])
    assert (tee.asked, tee.differences, tee.worst) == (1, [], 0.0)
    assert answer["double"] == 8 and answer["token"] == "Bearer secret"  # type: ignore[index]


def test_a_question_that_is_refused_is_noted_though_both_refuse_it(
    servers: dict[str, str],
) -> None:
    tee, _ = ask(servers["refusing"], servers["refusing"])
    assert tee.differences == [] and len(tee.wrong) == 1 and "/double: 400" in tee.wrong[0]
    tee, _ = ask(servers["unknown"], servers["unknown"])
    assert len(tee.wrong) == 1 and "/double: 404" in tee.wrong[0]
    assert ask(servers["unanswered"], servers["unanswered"])[0].wrong == []
    assert ask(servers["right"], servers["right"])[0].wrong == []


def test_another_number_is_a_difference_beyond_the_tolerance_only(servers: dict[str, str]) -> None:
    tee, _ = ask(servers["right"], servers["off"])
    assert len(tee.differences) == 1 and "/double" in tee.differences[0]
    assert ask(servers["right"], servers["off"], 1e-4)[0].differences == []


def test_another_status_is_a_difference(servers: dict[str, str]) -> None:
    assert len(ask(servers["right"], servers["refusing"], 1.0)[0].differences) == 1


@pytest.mark.parametrize(
    ("one", "other", "far"),
    [
        ({"a": [1, "x", None]}, {"a": [1, "x", None]}, 0.0),
        (1.0, 1.5, 1 / 3),
        (0.001, 0.002, 0.001),
        ({"a": 1}, {"b": 1}, float("inf")),
        ([1], [1, 2], float("inf")),
        ("a", "b", float("inf")),
        (True, 1.5, float("inf")),
        (None, 1.0, float("inf")),
    ],
)
def test_distances_are_relative_and_other_shapes_infinitely_far(
    one: object, other: object, far: float
) -> None:
    assert distance(one, other) == pytest.approx(far)
