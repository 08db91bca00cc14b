"""What Prometheus measures of a service itself, such as latency, for the monitor's page.

The monitor sees answers only, and one process of several. So it asks Prometheus, by the queries of
the alert rules: what is shown is what is acted upon.
"""

import json
import math
import urllib.parse
import urllib.request
from typing import Any

from shared import alerting
from shared.objectives import Objectives

TIMEOUT_S = 2.0


def observed(loaded: Objectives, url: str) -> dict[str, Any]:
    """Metric -> value now, key result -> does its alert fire; as in live/values.json.

    Nothing of what Prometheus does not know yet, or no longer; nothing at all without it.
    """
    found: dict[str, Any] = {}
    for result in (one for one in loaded.live if not one.count):
        name = alerting.alert_name(loaded.name, result)
        firing = alerting.series("ALERTS", loaded.name, alertname=name, alertstate="firing")
        try:
            value = ask(url, alerting.query(result.metric, loaded.name))
            breached = ask(url, firing) is not None
        except (OSError, ValueError, KeyError):  # it is starting, or something else answers
            return found
        if value is not None:
            found |= {result.metric: value, result.id: {"breached": breached}}
    return found


def ask(url: str, query: str) -> float | None:
    """The one value of an instant query; None where there is none, or it is no number.

    Raises OSError, ValueError or KeyError where no Prometheus answers.
    """
    asked = urllib.parse.urlencode({"query": query})
    address = f"{url}/api/v1/query?{asked}"
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310
        rows = json.load(answer)["data"]["result"]
    value = float(rows[0]["value"][1]) if rows else math.nan
    return value if math.isfinite(value) else None
