"""Store and forward: the request log goes to a collector, oldest first, when there is a network.

    FORWARD_TOKEN=... python -m shared.forwarding --to https://collector.example/records

A POST has {"from": device, "lost": n, "records": [{"id", "log", "record"}, ...]}. It is delivered
once the answer is 2xx with {"accepted": number of records}, which no captive portal says; all else
is sent again. So a record may come twice, with the same id, and is not lost but by the log's own
limit: what that drops unsent is counted in `lost`.
"""

import argparse
import http.client
import json
import os
import random
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from shared.outbox import Outbox

LOOK_S = 1.0  # what the log drops within it, unseen, is not counted
ANSWER_BYTES = 10_000


class Forwarder:
    """Sends the logs in `folder`; only one at a time may, others raise SystemExit.

    kilobytes_per_second: at most, averaged over batches.
    retry_s: after a failure; doubled up to most_retry_s.
    """

    def __init__(
        self,
        folder: Path,
        to: str,
        device: str,
        kilobytes_per_second: float = 100,
        retry_s: float = 1,
        most_retry_s: float = 300,
        timeout_s: float = 30,
    ) -> None:
        self.to = urlsplit(to)
        if self.to.scheme not in ("http", "https") or not self.to.hostname:
            raise SystemExit(f"--to {to}: an address with http or https is needed")
        self.bytes_per_s, self.timeout_s = kilobytes_per_second * 1000, timeout_s
        self.retry_s, self.most_retry_s, self.said = retry_s, most_retry_s, ""
        try:
            self.outbox = Outbox(folder, device)
        except OSError as error:
            raise SystemExit(f"{folder}: {error}") from None
        if self.outbox.unreadable:
            self.say("sends all again", f"{self.outbox.path} is unreadable")

    def run(self) -> None:
        """Send for ever."""
        failures = 0
        while True:
            self.look()
            body, last = self.outbox.batch()
            if not last:
                time.sleep(LOOK_S)
            elif reason := self.refused(body, sum(count for _, count in last.values())):
                self.say("waits", reason)
                self.wait(min(self.retry_s * 2**failures, self.most_retry_s))
                failures = min(failures + 1, 30)
            else:
                failures = 0
                self.delivered(last)
                self.wait(len(body) / self.bytes_per_s, spread=False)

    def refused(self, body: bytes, records: int) -> str:
        """Send a body; why it was not accepted, empty if it was. Follows no redirection."""
        secure = self.to.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(str(self.to.hostname), self.to.port, timeout=self.timeout_s)
        headers = {"content-type": "application/json"}
        if token := os.environ.get("FORWARD_TOKEN"):
            headers["authorization"] = f"Bearer {token}"
        path = (self.to.path or "/") + (f"?{self.to.query}" if self.to.query else "")
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            content = answer.read(ANSWER_BYTES)
            if not 200 <= answer.status < 300:
                return f"the collector answers {answer.status}"
            accepted = json.loads(content).get("accepted")
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        return "" if accepted == records else f"the collector accepts {accepted} of {records}"

    def delivered(self, last: dict[str, tuple[int, int]]) -> None:
        try:
            self.outbox.delivered(last)
            self.say("sends", "")
        except OSError as error:  # a full disk; it goes on
            self.say("sends, and after a restart perhaps again", str(error))

    def look(self) -> None:
        try:
            self.outbox.look()
        except OSError as error:
            self.say("cannot remember", str(error))

    def wait(self, seconds: float, spread: bool = True) -> None:
        """Go on looking meanwhile; `spread`, so that devices do not all come at once."""
        share = random.uniform(0.5, 1) if spread else 1  # noqa: S311 (no secret)
        end = time.monotonic() + seconds * share
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(LOOK_S, left))
            self.look()

    def say(self, what: str, reason: str) -> None:
        """A line on standard error when it is another one than before."""
        if (what + reason) == self.said:
            return
        self.said = what + reason
        state = self.outbox.state
        line = {"forwarding": what, "reason": reason, "sent": state.sent, "lost": state.lost}
        sys.stderr.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    logs = os.environ.get("SERVICE_LOG_FOLDER", "logs")
    parser.add_argument("--to", required=True, help="address of the collector")
    parser.add_argument("--logs", type=Path, default=Path(logs))
    parser.add_argument("--device", default=socket.gethostname(), help="a name of its own")
    parser.add_argument("--kilobytes-per-second", type=float, default=100)
    parser.add_argument("--retry-s", type=float, default=1, help="doubled with each failure")
    parser.add_argument("--most-retry-s", type=float, default=300)
    parser.add_argument("--timeout-s", type=float, default=30)
    asked = vars(parser.parse_args())
    Forwarder(asked.pop("logs"), **asked).run()


if __name__ == "__main__":
    main()
