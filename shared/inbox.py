"""Takes alerts in: each is noted first, once, and then acted upon or forwarded to people."""

import threading
import urllib.request
from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field

from shared.acting import Acting
from shared.incidents import AGAIN, Incident
from shared.refusals import BadInput

PEOPLES = ("page", "ticket")
ACTIONS = (*PEOPLES, "retrain", "rollback")


class Alert(BaseModel):
    """One alert of Alertmanager's webhook; what is not named here is passed on to people."""

    model_config = {"extra": "allow"}
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    startsAt: AwareDatetime
    fingerprint: str = Field(pattern=r"^[0-9a-zA-Z]{1,64}$")

    @property
    def incident(self) -> Incident:
        name = f"{self.fingerprint}-{self.startsAt.timestamp():.3f}"
        result = self.labels.get("key_result") or self.labels.get("alertname", "unknown")
        about = (self.labels.get("action", "none")[:100], result[:100], self.startsAt.timestamp())
        return Incident(name, *about, scheduled=False)


class Webhook(BaseModel):
    """Version 4 of Alertmanager's webhook."""

    model_config = {"extra": "allow"}
    version: Literal["4"]
    alerts: list[Alert] = Field(max_length=1000)


class Inbox:
    """One webhook after another; `forward` is the address that gets pages and tickets."""

    def __init__(self, acting: Acting, forward: str | None) -> None:
        self.acting, self.forward, self.lock = acting, forward, threading.Lock()

    def take(self, webhook: Webhook) -> None:
        """Raises BadInput 502 when people could not be told; Alertmanager then asks again."""
        with self.lock:
            known = self.acting.known()
            for alert in webhook.alerts:
                if alert.status == "firing":
                    self._firing(alert, known)
                elif (old := known.get(alert.incident.name)) and not _told(old):
                    self._resolved(old)
            self.acting.wake.set()
            self._tell(webhook, known)

    def _firing(self, alert: Alert, known: dict[str, Incident]) -> None:
        """Note an alert that is new, or goes on after it was skipped, refused or failed upon and
        the reason to do nothing holds no longer."""
        new = alert.incident
        old = known.get(new.name)
        other = alert.labels.get("service", self.acting.name) != self.acting.name
        refused = other or new.action not in ACTIONS
        again = old is not None and old.state in AGAIN and not refused
        if old and not (again and self.acting.decide(old)[0] != "skip"):
            return
        known[new.name] = new
        # Who acts reads along: what is not for this server must not look as if it were.
        action = "none" if refused else new.action
        self.acting.note("alert", new, action=action, began=new.began)
        if refused:
            named = f"action {new.action!r}, service {alert.labels.get('service')!r}"
            new.state = self.acting.end("skipped", new, reason=f"not for this server: {named}")

    def _resolved(self, incident: Incident) -> None:
        if not incident.resolved:
            self.acting.note("resolved", incident)
            incident.resolved = True

    def _tell(self, webhook: Webhook, known: dict[str, Incident]) -> None:
        """Pages and tickets are noted, and their ends, once they have been forwarded, if there is
        where to."""
        told: list[Alert] = []
        for alert in webhook.alerts:
            incident = known.get(alert.incident.name)
            if incident and alert.status == "firing":
                told += [alert] if _for_people(incident) and incident.state == "waiting" else []
            elif incident and _told(incident) and not incident.resolved:
                told.append(alert)
        if told and self.forward:
            only = webhook.model_copy(update={"alerts": told})
            try:
                post(self.forward, only.model_dump_json().encode())
            except OSError as error:
                raise BadInput("forward", f"not forwarded: {error}"[:200], 502) from None
        for alert in told:
            incident = known[alert.incident.name]
            if alert.status == "resolved":
                self._resolved(incident)
            else:
                self.acting.note(incident.action, incident)
                incident.state = "done"


def _for_people(incident: Incident) -> bool:
    return incident.action in PEOPLES


def _told(incident: Incident) -> bool:
    """Whether people know of it: they are then told, too, when it is over."""
    return _for_people(incident) and incident.state == "done"


def post(url: str, body: bytes) -> None:
    """Raises OSError when the address does not take it within ten seconds."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 (the operator's own)
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        pass
