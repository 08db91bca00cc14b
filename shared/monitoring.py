"""The monitor's loop: windows of the request log -> metrics, verdicts, /metrics, a page.

A blueprint's monitor.py says what its windows mean:

    with monitoring.watch(__doc__) as watch:
        for windows in watch.runs():
            for window in windows:
                watch.record(window, judge(window.rows) if window.labelled else measure(...))

A window is `count` consecutive records of one model: after a promotion the new model's windows
begin anew. Requests that failed are in it, but not among its rows: `live.valid_share` tells
of them. What was measured is kept beside the joined records, so a restart repeats nothing.
"""

import argparse
import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import start_http_server
from tqdm import tqdm

from shared import audit, drift, gauges, joining, labelling, livepage, objectives, params, verdicts
from shared.drift import Estimate
from shared.keyresult import VALID_SHARE, KeyResult
from shared.lineage import current
from shared.prometheus import observed
from shared.windows import Window as Window

TABLE = """
CREATE TABLE IF NOT EXISTS windows (stream TEXT, model TEXT, last INTEGER, time REAL,
  key_result TEXT, metric TEXT, value REAL, error REAL, missed INTEGER,
  PRIMARY KEY (stream, model, last, key_result));
"""
HISTORY = ("model", "value", "error", "missed", "time")


class Watch:
    """The state of one service's monitor; see `watch` for what its arguments are."""

    def __init__(
        self, asked: argparse.Namespace, loaded: objectives.Objectives, truth: Any = Any
    ) -> None:
        self.asked, self.objectives = asked, loaded
        self.logs, self.live = Path(asked.logs), Path(asked.live)
        self.live.mkdir(exist_ok=True)
        self.joined = joining.Joined(self.live / "monitor.db", asked.keep_days, asked.keep_mb)
        self.joined.database.executescript(TABLE)
        self.results = [one for one in loaded.key_results if one.count]
        self.metrics = gauges.Gauges()
        if asked.feedback:
            self.joined.add_truths(labelling.truths(Path(asked.feedback), truth))

    def runs(self) -> Iterator[Iterator[Window]]:
        """A run is the windows that are complete and not recorded; with --every, runs for ever."""
        while True:
            begin = time.monotonic()
            self.joined.read(self.logs)
            yield self._complete()
            self.publish()
            if not self.asked.every:
                return
            time.sleep(max(0.0, self.asked.every - (time.monotonic() - begin)))

    def _complete(self) -> Iterator[Window]:
        for labelled, count in sorted({(one.labelled, one.count or 0) for one in self.results}):
            name = f"{count} {'labelled' if labelled else 'requests'}"
            for model in self.joined.models(labelled):
                with tqdm(desc=f"windows of {name}", disable=None, leave=False) as bar:
                    last = self._last(name, model)
                    while len(rows := self.joined.window(labelled, model, last, count)) == count:
                        last = rows[-1][0]
                        answers = [row for _, row in rows if "failed" not in row]
                        yield Window(labelled, model, last, answers, count - len(answers))
                        bar.update()

    def _last(self, stream: str, model: str) -> int:
        query = "SELECT max(last) FROM windows WHERE stream = ? AND model = ?"
        (last,) = self.joined.database.execute(query, (stream, model)).fetchone()
        return last or 0

    def files(self, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of a model version its reports/reference.json and export/model.json.

        What was deployed by `releasing` lies in live/models/; other versions are the folder's own.
        """
        deployed = self.live / "models" / model
        if (deployed / "reference.json").exists():
            names = (deployed / "reference.json", deployed / "model.json")
        else:
            names = (Path("reports/reference.json"), Path("export/model.json"))
        usual, described = (params.read_json(name) for name in names)
        return usual, described

    def queue(self, doubt: Callable[[dict[str, Any]], float]) -> None:
        """The newest requests without truth -> live/labelling.{csv,json}: in turns that of most
        doubt and the one farthest from what its model was trained on."""
        waiting, files = self.joined.unlabelled(20 * self.asked.queue), functools.cache(self.files)
        reasons = {
            "doubt": doubt,
            "drift": lambda row: drift.of_one(row, *files(str(row.get("model")))),
        }
        labelling.write(waiting, reasons, self.asked.queue, self.live)

    def record(self, window: Window, found: Mapping[str, Estimate]) -> None:
        """Keep a window's metrics with the verdict of each key result that looks at it.

        Raises SystemExit where a key result's metric is not among those found.
        """
        measured = {VALID_SHARE: window.valid_share, **found}
        kind = (window.labelled, window.asked)
        asked = [one for one in self.results if (one.labelled, one.count) == kind]
        rows = [verdicts.judged(one, measured) for one in asked]
        for metric in found.keys() - {row[1] for row in rows}:
            value, error = found[metric]
            if not (math.isnan(value) or math.isnan(error)):
                rows.append(("", metric, value, min(error, 1e300), False))
        place = (window.stream, window.model, window.last, time.time())
        with self.joined.database as database:
            database.execute("BEGIN")
            for row in rows:
                key = row[0] or row[1]
                values = (*place, key, *row[1:])
                database.execute(
                    "INSERT OR REPLACE INTO windows VALUES (?,?,?,?,?,?,?,?,?)", values
                )

    def history(self, key: str) -> list[dict[str, Any]]:
        """The windows of a key result, or of a metric that has none, oldest first.

        All are held to the target of today, and those of a former metric or window are left out.
        """
        query = "SELECT model, value, error, missed, time FROM windows WHERE "
        values: list[str | None] = [key]
        if asked := next((one for one in self.results if one.id == key), None):
            query += "metric = ? AND stream = ? AND "
            values = [asked.metric, asked.window, key]
        found = self.joined.database.execute(query + "key_result = ? ORDER BY rowid", values)
        windows = [dict(zip(HISTORY, row, strict=True)) for row in found]
        return verdicts.anew(asked, windows) if asked else windows

    def breached(self, result: KeyResult) -> bool | None:
        """Of the model that serves; None before the first window of any."""
        if not (windows := self.history(result.id)):
            return None
        serves = self.joined.serving(verdicts.changed(self.live)) or current(self.live)
        serves = serves or windows[-1]["model"]
        return verdicts.breached(result, windows, serves, verdicts.placed(self.live, serves))

    def publish(self) -> None:
        """What was found -> /metrics, live/values.json, live/report.html."""
        values: dict[str, Any] = {}
        for result in self.results:
            windows, breached = self.history(result.id), self.breached(result)
            if breached is not None:
                values[result.metric] = windows[-1]["value"]
                values[result.id] = {"breached": breached, "windows": len(windows)}
        self.metrics.update(values, self.joined.counts(), self.logs, self.asked.service)
        if self.asked.prometheus:
            values |= observed(self.objectives, self.asked.prometheus)
        params.write_json(self.live / "values.json", values)
        histories = {one.id: self.history(one.id) for one in self.results}
        events = audit.read(self.live, last_bytes=100_000)
        page = livepage.page(self.objectives, histories, values, self.joined.counts(), events)
        with params.atomic(self.live / "report.html") as draft:
            draft.write_text(page, encoding="utf-8")


@contextlib.contextmanager
def watch(
    description: str | None, arguments: list[str] | None = None, truth: Any = Any
) -> Iterator[Watch]:
    """The monitor as the command line asks for it; truth: the type of what --feedback brings."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--every", type=float, help="seconds between runs; without it, one run")
    parser.add_argument("--port", type=int, help="serve Prometheus' /metrics here")
    parser.add_argument("--host", default="127.0.0.1", help="address of that port")
    parser.add_argument("--logs", default="logs", help="the service's log_folder")
    parser.add_argument("--live", default="live", help="folder of the monitor's own state")
    parser.add_argument("--keep-days", type=float, default=90, help="a request waits for its truth")
    parser.add_argument("--keep-mb", type=float, default=2000, help="then the oldest requests go")
    parser.add_argument("--feedback", help="CSV request_id,truth or Label Studio JSON")
    parser.add_argument("--queue", type=int, default=50, help="requests listed to be labelled")
    parser.add_argument("--service", default="service:", help="in the service's command line")
    parser.add_argument("--prometheus", type=params.address, help="shows what it measures, too")
    asked = parser.parse_args(arguments)
    watched = Watch(asked, objectives.load(), truth)
    if asked.port:
        start_http_server(asked.port, asked.host, registry=watched.metrics.registry)
    with contextlib.suppress(KeyboardInterrupt):
        yield watched
