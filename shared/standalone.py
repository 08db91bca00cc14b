"""One host: images of all that stands around a service, and the files that start them together.

    python -m shared.images build --target standalone       in a blueprint's folder
    python -m shared.deploying write --target standalone    -> dist/deploy/standalone

The service is the cloud target's image. One more, the worker, has the blueprint with its results
and the packages of requirements.txt; it is MLflow's server, monitor, worker and gateway. A third is
all of it in one container.
"""

import argparse
import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

from shared import archives, compiling, compose, engine, images, packaging, provenance

PROMETHEUS, ALERTMANAGER = "prom/prometheus:v3.5.0", "prom/alertmanager:v0.28.1"
GRAFANA = "grafana/grafana:11.6.0"
# Where these cannot be pulled: both of this machine's Debian in one image.
DEBIAN = "debian-prometheus"
TOOLS = {"prometheus": "prometheus", "promtool": "promtool", "amtool": "amtool"}
TOOLS |= {"prometheus-alertmanager": "alertmanager"}
TEMPLATES = "/usr/share/prometheus/alertmanager"  # of Debian's Alertmanager
# Of the blueprint's folder: made at every build, or of this machine alone.
LEFT = shutil.ignore_patterns(
    *("build", "dist", "live", "simulated", "logs", "mlruns", "mlflow.db*", "checkpoint", "tmp"),
    *("__pycache__", ".venv", ".run.json", ".locks", "README.md", "config.local"),
    # Keys, secrets and what was made for elsewhere: an image goes to other hosts.
    *("*.pem", "*.key", ".env*", "*.bundle", "*.tar.gz", ".secret"),
    *(".git", ".ssh", ".aws", ".netrc", ".pypirc"),
)
WRITABLE = ("app/live/logs", "app/.dvc/cache", "app/.dvc/tmp", "mlflow")
HEAD = """# Settings of compose.yaml; of those named here, the environment comes first. Tokens are
# in secrets/ too: after a change, make deploy-files and docker compose up -d --force-recreate.
#   SERVICE_PORT=3000 MLFLOW_PORT=5000 PROMETHEUS_PORT=9090 ALERTMANAGER_PORT=9093 GRAFANA_PORT=3001
#   SERVICE_LOG_INPUTS=true WORKER_MEMORY=4g PROMETHEUS_KEEP=90d
# Where no registry is reachable, without Grafana: COMPOSE_PROFILES= and
#   PROMETHEUS_IMAGE={debian} ALERTMANAGER_IMAGE={debian}
"""


def build(folder: Path, platform: str) -> list[str]:
    """Build service, worker and single container for this machine; gives their tags.

    Raises SystemExit where nothing is packaged, a build fails, the worker's results are not those
    that were packaged, or for another platform.
    """
    if platform != engine.native():
        raise SystemExit(f"standalone is built where it runs, for {engine.native()} here")
    chain = images.provenance(folder)
    if chain["pipeline"] != provenance.pipeline_hash(folder / "dvc.lock"):
        raise SystemExit("packaged before the last dvc repro; run: dvc repro --force -s package")
    service, watching = images.build(folder, "cloud", platform), watchers()
    arguments = ["--file", str(engine.DEPLOY / "Dockerfile.worker")]
    base = engine.base_image(platform)
    given = {"BASE_IMAGE": base, **pulled(watching)}
    given |= {name.upper(): str(chain[name]) for name in ("git_commit", "git_dirty")}
    if index := os.environ.get("PIP_EXTRA_INDEX_URL"):
        given["PIP_EXTRA_INDEX_URL"] = index
    for key, value in given.items():
        arguments += ["--build-arg", f"{key}={value}"]
    for key, value in (images.labels(folder, chain) | images.based(base)).items():
        arguments += ["--label", f"{key}={value}"]
    names = [images.tag(chain, stage, platform) for stage in ("worker", "single")]
    with context(folder) as place:
        for stage, name in zip(("worker", "single"), names, strict=True):
            engine.docker("build", "--target", stage, "--tag", name, *arguments, str(place))
            images.check(folder, f"standalone {stage}", {"image_mb": images.size_mb(name)})
    return [service, *names]


@contextlib.contextmanager
def context(folder: Path) -> Iterator[Path]:
    """A temporary folder with all that Dockerfile.worker copies."""
    pins = packaging.pinned(folder / "requirements.txt")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        shutil.copytree(folder, place / "app", ignore=LEFT)
        bare = shutil.ignore_patterns("__pycache__")
        shutil.copytree(
            Path(__file__).parent, place / "app/shared", ignore=bare, dirs_exist_ok=True
        )
        # DVC's cache comes as a volume's first content, which belongs to who writes to it.
        (place / "writable/app/.dvc").mkdir(parents=True)
        if (place / "app/.dvc/cache").exists():
            shutil.move(place / "app/.dvc/cache", place / "writable/app/.dvc/cache")
        for name in WRITABLE:
            (place / "writable" / name).mkdir(parents=True, exist_ok=True)
        images.readable(place)
        shutil.copy2(folder / "requirements.txt", place)
        (place / "constraints.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
        yield place


def watchers() -> dict[str, str]:
    """Settings for compose that name images made here; none where the usual ones can be had."""
    engine.start()
    if all(engine.works("image", "inspect", name) for name in (PROMETHEUS, ALERTMANAGER)):
        return {}
    if all(engine.works("pull", "--quiet", name) for name in (PROMETHEUS, ALERTMANAGER, GRAFANA)):
        return {}
    if not all(shutil.which(name) for name in TOOLS):
        engine.install("prometheus", "prometheus-alertmanager")
    with tempfile.TemporaryDirectory() as temporary:
        for name, goal in TOOLS.items():
            (place := Path(temporary) / "bin").mkdir(exist_ok=True)
            shutil.copy2(str(shutil.which(name)), place / goal)
        shutil.copytree(TEMPLATES, Path(temporary) / "share")
        for name in ("prometheus", "alertmanager"):
            (Path(temporary) / "writable" / name).mkdir(parents=True)
        file = ["--file", str(engine.DEPLOY / "Dockerfile.watchers")]
        base = ["--build-arg", f"BASE_IMAGE={engine.base_image(engine.native())}"]
        engine.docker("build", "--quiet", "--tag", DEBIAN, *file, *base, temporary)
    return {"PROMETHEUS_IMAGE": DEBIAN, "ALERTMANAGER_IMAGE": DEBIAN, "COMPOSE_PROFILES": ""}


def pulled(watching: dict[str, str]) -> dict[str, str]:
    """The images that Prometheus and Alertmanager are taken from."""
    usual = {"PROMETHEUS_IMAGE": PROMETHEUS, "ALERTMANAGER_IMAGE": ALERTMANAGER}
    return {name: watching.get(name, image) for name, image in usual.items()}


def write(folder: Path, place: Path, named: dict[str, Any]) -> None:
    """compose.yaml, .env, secrets, what watches the service. Secrets that are there stay."""
    platform, chain = engine.native(), images.provenance(folder)
    settings(place, named["name"])
    compiled(folder, place)
    named = named | {
        # compose starts who reads them anew when they change
        "compiled": hashlib.sha256(repr(archives.hashes(place / "compiled")).encode()).hexdigest(),
        "service_image": images.tag(chain, "cloud", platform),
        "worker_image": images.tag(chain, "worker", platform),
        "prometheus": PROMETHEUS,
        "alertmanager": ALERTMANAGER,
        "grafana": GRAFANA,
    }
    templates = engine.DEPLOY / "standalone"
    for path in sorted(templates.rglob("*.yaml")):
        goal = place / path.relative_to(templates)
        goal.parent.mkdir(parents=True, exist_ok=True)
        filled = Template(path.read_text(encoding="utf-8")).substitute(named)
        goal.write_text(filled, encoding="utf-8")
    images.readable(place / "grafana")


def compiled(folder: Path, place: Path) -> None:
    """Rules, routes and the dashboard of objectives.yaml, for the containers' addresses."""
    parser = argparse.ArgumentParser()
    compiling.options(parser)
    asked = ["--live", str(place.resolve()), "--interval", "10s", "--service", "service:3000"]
    asked += ["--monitor", "monitor:9464", "--alertmanager", "alertmanager:9093"]
    asked += ["--actions", "worker:9099", "--token-file", "/run/secrets/service_token"]
    asked += ["--actions-token-file", "/run/secrets/actions_token"]
    if compiling.write(folder, parser.parse_args(asked)):
        raise SystemExit("deploy-files: nothing watches the service; see above")
    images.readable(place / "compiled")


def settings(place: Path, name: str) -> None:
    """.env and secrets/, for this user's eyes; made once."""
    place.mkdir(parents=True, exist_ok=True)
    file = place / compose.ENVIRONMENT
    if not file.exists():
        values = {"COMPOSE_PROJECT_NAME": name, "COMPOSE_PROFILES": "grafana"}
        values |= {key: secrets.token_hex(16) for key in compose.SECRETS}
        lines = "".join(f"{key}={value}\n" for key, value in values.items())
        file.touch(mode=0o600)
        file.write_text(HEAD.format(debian=DEBIAN) + lines, encoding="utf-8")
    known = compose.environment(place)
    (place / "secrets").mkdir(mode=0o700, exist_ok=True)
    for kind in ("service", "actions"):  # the folder is closed; a container sees the file alone
        path = place / "secrets" / kind
        path.write_text(known[f"{kind.upper()}_TOKEN"], encoding="utf-8")
        path.chmod(0o644)
