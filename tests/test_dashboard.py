import json
import re
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import REGISTRY

from shared import gauges, objectives, telemetry
from shared.dashboard import dashboard

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parent.parent
BLUEPRINTS = sorted(path.parent for path in ROOT.glob("blueprints/*/objectives.yaml"))


@pytest.fixture(params=BLUEPRINTS, ids=lambda path: path.name)
def loaded(request: pytest.FixtureRequest) -> objectives.Objectives:
    return objectives.load(request.param / "objectives.yaml")


def lost(written: Any, known: Any, where: str = "") -> list[str]:
    """Where something that was written is not what Grafana's types have kept of it."""
    if isinstance(written, dict):
        have = known if isinstance(known, dict) else {}
        return [
            place
            for key, value in written.items()
            for place in lost(value, have.get(key), f"{where}.{key}")
        ]
    if isinstance(written, list) and isinstance(known, list) and len(written) == len(known):
        pairs = zip(written, known, strict=True)
        return [place for i, pair in enumerate(pairs) for place in lost(*pair, f"{where}[{i}]")]
    return [] if written == known else [where]


def typed(written: dict[str, Any]) -> Any:
    plugins.register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(written), cls=JSONEncoder))


def test_grafanas_types_know_everything_written(loaded: objectives.Objectives) -> None:
    written = dashboard(loaded)
    assert lost(written, typed(written)) == []
    assert len({panel["id"] for panel in written["panels"]}) == len(written["panels"])


def test_a_misspelt_option_is_noticed(loaded: objectives.Objectives) -> None:
    written = dashboard(loaded)
    custom = written["panels"][0]["fieldConfig"]["defaults"]["custom"]
    custom["thresholdStyle"] = custom.pop("thresholdsStyle")
    (place,) = lost(written, typed(written))
    assert place == ".panels[0].fieldConfig.defaults.custom.thresholdStyle.mode"


def test_each_live_key_result_has_a_panel_with_its_target(loaded: objectives.Objectives) -> None:
    panels = {panel["title"].split()[0]: panel for panel in dashboard(loaded)["panels"]}
    assert len(loaded.live) >= 4
    for result in loaded.live:
        panel = panels[result.id]
        assert result.metric in panel["title"] and result.target in panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        first, second = defaults["thresholds"]["steps"]
        assert second["value"] == result.limit == defaults["custom"]["axisSoftMax"]
        above = result.holds(result.limit + 1)
        assert (first["color"], second["color"]) == (
            ("red", "green") if above else ("green", "red")
        )
        assert defaults["custom"]["thresholdsStyle"] == {"mode": "line"}


def produced() -> set[str]:
    """Names of all series of the service and of the monitor, and Prometheus' own `up`."""
    endings = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "gauge": ("",)}
    names = {"up", "monitor_gpu_share"}  # the latter where there is a GPU
    assert telemetry.SECONDS  # it registers the service's
    for registry in (REGISTRY, gauges.Gauges().registry):
        for family in registry.collect():
            names |= {family.name + ending for ending in endings.get(family.type, ())}
    return names


def test_every_query_names_metrics_that_are_produced(loaded: objectives.Objectives) -> None:
    known = produced()
    for panel in dashboard(loaded)["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"(\w+)\{", target["expr"]))
            assert names and names <= known, target["expr"]
            assert f'service="{loaded.name}"' in target["expr"]


def test_panels_do_not_overlap(loaded: objectives.Objectives) -> None:
    places = [panel["gridPos"] for panel in dashboard(loaded)["panels"]]
    assert len({(place["x"], place["y"]) for place in places}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_service_machine_and_model_are_there(loaded: objectives.Objectives) -> None:
    titles = [panel["title"] for panel in dashboard(loaded)["panels"]][len(loaded.live) :]
    assert titles == [
        "Requests",
        "Latency",
        "Unanswered",
        "Requests in progress",
        "Processor",
        "Memory",
        "Request log",
        "Model",
    ]
