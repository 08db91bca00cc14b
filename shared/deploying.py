"""What runs a service elsewhere: files filled in from templates in shared/deploy/<target>/.

    python -m shared.deploying write --target cloud     in a blueprint's folder -> dist/deploy/cloud
    kubectl apply -k dist/deploy/cloud/production

cloud        for Kubernetes with Prometheus' operator: a base, and an overlay to copy for each place
edge         for a host with Python and systemd, without containers: an archive with its commands
standalone   for docker compose on one host: see shared/standalone.py
"""

import json
import shutil
import sys
from pathlib import Path
from string import Template
from typing import Any

import yaml

from shared import alerting, archives, engine, images, objectives, params, standalone
from shared.serving import ServiceParams

# Seconds between being taken off the list of who is asked and SIGTERM.
PRE_STOP_S = 15
SPARE_S = 10  # for an end beyond the slowest answer
MEGA, MEBI = 1e6, 2**20
IMAGES = {"standalone": "cloud"}  # whose service is another target's


def values(folder: Path, target: str, platform: str) -> dict[str, Any]:
    """What the templates name, from the objectives, parameters and provenance in `folder`.

    Raises SystemExit where nothing is packaged, or objectives.yaml has no budget of memory.
    """
    chain, kind = images.provenance(folder), IMAGES.get(target, target)
    budget = images.budget(folder, kind)
    if budget.memory_mb is None:
        raise SystemExit(f"objectives.yaml: targets.{kind}.memory_mb is missing; limits need it")
    settings = params.load_yaml(folder / "build/params.yaml")["service"]
    common = {key: settings[key] for key in ServiceParams.model_fields if key in settings}
    config = ServiceParams.model_validate(common)
    image = images.tag(chain, kind, platform)
    name, _, tag = image.partition(":")
    worker = images.tag(chain, "worker", platform)  # which `make image TARGET=standalone` builds
    # Bodies of all requests in progress come on top of what the smoke test takes.
    most = budget.memory_mb + config.max_body_mb * config.max_concurrency
    return chain | {
        "version": chain["bento"].partition(":")[2],
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "blueprint": folder.resolve().name,
        "image": image,
        "image_name": name,
        "image_tag": tag,
        "worker_image": worker,
        "worker_name": worker.partition(":")[0],
        "grace_s": int(PRE_STOP_S + config.timeout_s + SPARE_S),
        "pre_stop_s": PRE_STOP_S,
        "memory_request_mi": round(budget.memory_mb * MEGA / MEBI),
        "memory_limit_mi": round(most * MEGA / MEBI),
        # Where models are exchanged, the old one and the new one are in memory together.
        "service_limit_mi": round((most + budget.memory_mb) * MEGA / MEBI),
        # An update, and its self-test, which may take twice the budget
        "update_limit_mi": round(3 * budget.memory_mb * MEGA / MEBI),
        # Each of six replicas may be a quarter above the limit of the log, as may its feedback.
        "logs_gi": max(1, round(2 * config.log_max_mb * 1.25 * 6 * MEGA / 2**30)),
    }


def write(folder: Path, target: str, platform: str) -> Path:
    """Fill in all templates of the target; gives the folder.

    It is made anew; of standalone, settings and secrets stay.
    """
    named = values(folder, target, platform)
    place = folder / "dist/deploy" / target
    if target == "standalone":
        standalone.write(folder, place, named)
        return place
    shutil.rmtree(place, ignore_errors=True)
    if target == "edge":
        archives.write(folder, place, named)
        return place
    templates = engine.DEPLOY / target
    for path in sorted(templates.rglob("*.yaml")):
        filled = Template(path.read_text(encoding="utf-8")).substitute(named)
        goal = place / path.relative_to(templates)
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_text(filled, encoding="utf-8")
    rules = yaml.safe_dump(alert_rules(folder), sort_keys=False, width=1000)
    (place / "base/prometheusrule.yaml").write_text(rules, encoding="utf-8")
    return place


def alert_rules(folder: Path) -> dict[str, Any]:
    """The alert rules of objectives.yaml as Prometheus' operator takes them."""
    loaded = objectives.load(folder / "objectives.yaml")
    apart = json.loads(json.dumps(alerting.rules(loaded)))  # no references in YAML
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    return kind | {"metadata": {"name": loaded.name}, "spec": apart}


def main() -> None:
    asked = images.parser(__doc__, "write", targets=images.EVERY).parse_args()
    print(f"deploy-files: {write(Path(), asked.target, asked.platform)}")


if __name__ == "__main__":
    main()
