"""What watches a live service, all from its objectives.yaml -> live/compiled/.

rules.yml         alert rules          promtool check rules rules.yml
rules_test.yml    their unit tests     promtool test rules rules_test.yml
prometheus.yml    what is read         prometheus --config.file=prometheus.yml
alertmanager.yml  where alerts go      amtool check-config alertmanager.yml
dashboard.json    to import in Grafana
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from shared import alerting, alerttests, dashboard, objectives, params


def options(parser: argparse.ArgumentParser) -> None:
    """Command line of `python -m shared.objectives compile`."""
    group = parser.add_argument_group("compile", "addresses are host:port")
    group.add_argument("--live", type=Path, default="live", help="folder, has compiled/ afterwards")
    group.add_argument("--service", default="127.0.0.1:3000", help="has /metrics")
    group.add_argument("--monitor", default="127.0.0.1:9464", help="has /metrics too")
    group.add_argument("--alertmanager", default="127.0.0.1:9093", help="gets alerts")
    group.add_argument("--actions", default="127.0.0.1:9099", help="gets them from Alertmanager")
    group.add_argument("--interval", default="5s", help="of reading metrics, at most 2m")
    group.add_argument("--token-file", help="holds SERVICE_TOKEN where the service asks for it")
    group.add_argument("--actions-token-file", help="holds ACTIONS_TOKEN, likewise")
    group.add_argument("--email", help="address that gets critical alerts")
    group.add_argument("--smarthost", help="mail server that takes them")


def write(folder: Path, asked: argparse.Namespace) -> int:
    """Write everything; 1 if a live key result looks at a metric that nothing produces."""
    loaded = objectives.load(folder / "objectives.yaml")
    problems = objectives.unproduced(loaded.live, folder)
    if bool(asked.email) != bool(asked.smarthost):
        problems.append("--email and --smarthost go together")
    for line in problems:
        print(f"compile: {line}", file=sys.stderr)
    if problems:
        return 1
    compiled = folder / asked.live / "compiled"
    rules, tests = alerting.rules(loaded), alerttests.tests(loaded)
    write_yaml(compiled / "rules.yml", rules)
    write_yaml(compiled / "rules_test.yml", tests)
    write_yaml(compiled / "prometheus.yml", alerting.prometheus(loaded, asked))
    write_yaml(compiled / "alertmanager.yml", alerting.alertmanager(asked))
    params.write_json(compiled / "dashboard.json", dashboard.dashboard(loaded))
    numbers = f"{len(rules['groups'][0]['rules'])} alerts, {len(tests['tests'])} tests of them"
    print(f"{compiled}: {numbers}; run: promtool test rules {compiled / 'rules_test.yml'}")
    return 0


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    apart = json.loads(json.dumps(content))  # YAML would write what is there twice as a reference
    text = yaml.safe_dump(apart, sort_keys=False, allow_unicode=True, width=1000)
    with params.atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")
