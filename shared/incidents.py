"""What is known of each incident, from the audit log alone, and what to do about it.

An incident is an alert's fingerprint and the time it began, or one run of a timer. So a server that
was killed knows after its restart what it had taken on, begun and finished.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Do = Literal["retrain", "rollback", "skip"]

TRIES = 2  # of a retraining that a kill or a restart interrupted
# event -> the state it leaves an incident in; other events are steps within `running`
STATES = {"alert": "waiting", "scheduled": "waiting", "retrain_started": "running"}
STATES |= {"interrupted": "waiting", "skipped": "skipped"}
STATES |= dict.fromkeys(("retrain_finished", "rolled_back", "page", "ticket"), "done")
STATES |= dict.fromkeys(("retrain_failed", "refused"), "in vain")
AGAIN = ("skipped", "in vain")  # an alert that goes on is decided upon anew


@dataclass
class Incident:
    """began: seconds since 1970, by Prometheus' clock; started: of its newest retraining."""

    name: str
    action: str
    key_result: str
    began: float
    scheduled: bool
    state: str = "waiting"
    tries: int = 0
    started: float = 0.0
    resolved: bool = False


def known(records: Iterable[dict[str, Any]]) -> dict[str, Incident]:
    """Incidents by name, in the order in which they came."""
    found: dict[str, Incident] = {}
    for record in records:
        name, event = record.get("incident"), record.get("event", "")
        if name is None:
            continue
        if event in ("alert", "scheduled") and name not in found:
            about = (name, record["action"], record["key_result"], record["began"])
            found[name] = Incident(*about, scheduled=event == "scheduled")
        elif event == "alert":
            found[name].tries = 0
        if (incident := found.get(name)) is None:
            continue
        incident.state = STATES.get(event, incident.state)
        incident.resolved |= event == "resolved"
        if event == "retrain_started":
            incident.tries, incident.started = incident.tries + 1, record["time"]
    return found


def waiting(found: dict[str, Incident]) -> list[Incident]:
    """Those to be acted upon, oldest first; people act on pages and tickets."""
    return [
        incident
        for incident in found.values()
        if incident.state == "waiting" and incident.action in ("retrain", "rollback")
    ]


def decide(
    incident: Incident,
    found: dict[str, Incident],
    history: list[dict[str, Any]],
    now: float,
    at_most_every: float,
    probation: float,
) -> tuple[Do, str]:
    """What to do about an incident, and why.

    history: changes of the served model (lineage.py), oldest first; times in seconds.
    A model that was promoted less than `probation` seconds ago and makes trouble is rolled back,
    if another was served before it. What began under another model says nothing of this one.
    """
    newest: dict[str, Any] = history[-1] if history else {"event": "none", "time": float("-inf")}
    if not incident.scheduled:
        if incident.resolved:
            return "skip", "it was over before anything was done"
        if incident.began < newest["time"]:
            return "skip", "it began before the model now served was put in place"
    if incident.action == "rollback":
        return "rollback", "it was asked for"
    age = now - newest["time"]
    new = newest["event"] == "promoted" and len(history) > 1 and age < probation
    if new and not incident.scheduled:
        return "rollback", f"the model was promoted {age:.0f} s ago"
    before = [
        one.started for one in found.values() if one.name != incident.name or one.state == "in vain"
    ]
    wait = max(before, default=0.0) + at_most_every - now
    if wait > 0:
        return "skip", f"the last retraining began too recently; {wait:.0f} s to go"
    return "retrain", "it was asked for"
