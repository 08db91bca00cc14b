from typing import Any

import pytest

from shared import incidents
from shared.incidents import Incident

PROMOTED = [
    {"time": 1000.0, "version": "a", "event": "promoted"},
    {"time": 5000.0, "version": "b", "event": "promoted"},
]
ROLLED_BACK = [*PROMOTED, {"time": 5500.0, "version": "b", "event": "rolled_back", "to": "a"}]


def line(event: str, time: float = 0.0, incident: str = "i", **more: Any) -> dict[str, Any]:
    return {"time": time, "event": event, "incident": incident, "key_result": "KR3", **more}


def alert(incident: str = "i", action: str = "retrain", began: float = 6000.0) -> dict[str, Any]:
    return line("alert", began, incident, action=action, began=began)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], "waiting"),
        (["retrain_started"], "running"),
        (["retrain_started", "data_appended", "promoted"], "running"),
        (["retrain_started", "interrupted"], "waiting"),
        (["retrain_started", "retrain_finished"], "done"),
        (["retrain_started", "refused"], "in vain"),
        (["retrain_started", "retrain_failed"], "in vain"),
        (["skipped"], "skipped"),
        (["rolled_back", "resolved"], "done"),
    ],
)
def test_an_incidents_state_follows_from_the_audit_log(events: list[str], state: str) -> None:
    found = incidents.known([alert(), *(line(event) for event in events)])
    assert found["i"].state == state
    assert found["i"].tries == events.count("retrain_started")


def test_lines_of_no_incident_are_passed_over() -> None:
    records = [{"time": 1, "event": "promoted"}, line("retrain_started", incident="unknown")]
    assert incidents.known(records) == {}


def test_people_act_on_pages_and_tickets() -> None:
    records = [alert("a", "page"), alert("b", "rollback"), alert("c"), line("skipped", 0, "c")]
    assert [one.name for one in incidents.waiting(incidents.known(records))] == ["b"]


def decide(
    incident: Incident, history: list[dict[str, Any]], *others: Incident, now: float = 7000.0
) -> tuple[str, str]:
    found = {one.name: one for one in (incident, *others)}
    return incidents.decide(incident, found, history, now, at_most_every=3600, probation=1500)


def new(action: str = "retrain", began: float = 6000.0, **more: Any) -> Incident:
    about = {"name": "i", "key_result": "KR3", "scheduled": False, **more}
    return Incident(action=action, began=began, **about)


def test_drift_is_answered_by_a_retraining() -> None:
    assert decide(new(), [])[0] == "retrain"
    assert decide(new(), PROMOTED)[0] == "retrain", "2,000 s after the promotion"


def test_a_model_on_probation_that_makes_trouble_is_rolled_back() -> None:
    assert decide(new(), PROMOTED, now=6400.0) == (
        "rollback",
        "the model was promoted 1400 s ago",
    )
    assert decide(new(), PROMOTED[1:], now=6400.0)[0] == "retrain", "none was served before"
    assert decide(new(), ROLLED_BACK, now=6400.0)[0] == "retrain", "the former champion is proven"


def test_a_timer_is_no_evidence_against_the_model() -> None:
    assert decide(new(scheduled=True, began=0.0), PROMOTED, now=6400.0)[0] == "retrain"
    assert decide(new("rollback", scheduled=True), PROMOTED)[0] == "rollback"


@pytest.mark.parametrize("action", ["retrain", "rollback"])
def test_what_began_under_another_model_says_nothing_of_this_one(action: str) -> None:
    do, why = decide(new(action, began=4999.0), PROMOTED, now=5100.0)
    assert do == "skip" and "before the model now served" in why
    assert decide(new(action, began=5400.0), ROLLED_BACK, now=5600.0)[0] == "skip"


def test_what_is_over_is_not_acted_upon() -> None:
    assert decide(new(resolved=True), PROMOTED)[0] == "skip"


def test_retrainings_keep_their_distance_but_one_that_was_interrupted_goes_on() -> None:
    other = new(name="other", started=4000.0)
    assert decide(new(), [], other)[0] == "skip"
    assert decide(new(), [], other, now=7601.0)[0] == "retrain"
    assert decide(new("rollback"), [], other)[0] == "rollback"
    assert decide(new(started=6900.0, tries=1), [])[0] == "retrain"


def test_what_was_refused_is_tried_again_while_the_alert_goes_on_and_keeps_its_distance() -> None:
    records = [alert(), line("retrain_started", 6100.0), line("refused", 6200.0)]
    found = incidents.known(records)
    assert decide(found["i"], [], now=6300.0)[0] == "skip"
    assert decide(found["i"], [], now=9701.0)[0] == "retrain"
    again = incidents.known([*records, alert()])["i"]
    assert (again.state, again.tries) == ("waiting", 0)
    assert decide(again, [], now=9701.0)[0] == "retrain"
