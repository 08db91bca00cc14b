"""Records of the request log as the service writes them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

Json = dict[str, Any]
START = datetime(2022, 1, 1, 6, tzinfo=UTC)


def logged(battery: Any, prices: Any, charge: Any, power: Any, start: datetime = START) -> Any:
    """Labelled records of decisions; charge: [t] before each, power: [t]."""
    import battery as physics

    after = physics.move(battery, np.asarray(charge), np.asarray(power)).charge
    hours = [start + timedelta(hours=i * battery.step_hours) for i in range(len(prices))]
    return [
        {
            "timestamp": hour.isoformat(),
            "power_mw": float(power[i]),
            "charge_after_mwh": float(after[i]),
            "truth": float(prices[i]),
        }
        for i, hour in enumerate(hours)
    ]


def by_policy(predictor: Any, items: Any) -> Iterator[Json]:
    """What the log would have of a policy that is sent a blueprint's traffic."""
    import monitor
    import requested

    kind, now = requested.question(predictor.meta), datetime.now(UTC)
    item = next(items)
    while True:
        asked = kind.model_validate(item.body)
        moment = requested.moment(asked, predictor.meta, now)
        found = predictor.decide(moment)
        answer = {"power_mw": found.power, "charge_after_mwh": found.charge}
        answer |= {"source": found.source, "guards": found.guards, "share": found.share}
        seen = monitor.seen(moment.prices, predictor.meta["usual_price"])
        yield answer | {"timestamp": asked.timestamp, "seen": seen, "truth": item.truth}
        item = items.send(answer)
