"""A release in Kubernetes for some requests first: a canary by weight, or in the shadow, and the
way back.

    python -m shared.canary shadow --place PLACE                in a blueprint's folder
    python -m shared.canary start --place PLACE --weight 10
    python -m shared.canary promote|rollback --place PLACE
    kubectl apply -k PLACE/production                           after each of them

PLACE is a copy of dist/deploy/cloud, made by the first `start`: in it `base` serves, `next` is the
canary's, `before` served before. An HTTPRoute of the Gateway API shares the requests out; in the
shadow, the canary gets a copy of each and nobody its answers. What was killed is finished by the
same command once more, or taken back by `rollback`.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import yaml

PACKAGED = Path("dist/deploy/cloud")
LABEL = "app.kubernetes.io/name"
RELEASE = "release"  # a component of every overlay in PLACE
SHADOW_LOG = "/logs/shadow"
Json = dict[str, Any]


def start(place: Path, packaged: Path, weight: int) -> str:
    """Give `weight` per cent of the requests to the packaged release, with 0 a copy of all; gives
    its image."""
    if not 0 <= weight <= 99:
        raise SystemExit(f"--weight {weight}: per cent, from 1 to 99, or 0 for a copy of all")
    if not (packaged / "base").is_dir():
        raise SystemExit(f"{packaged}/base is missing; run: make deploy-files TARGET=cloud")
    if not (place / "base").is_dir():
        begin(place, packaged)
        raise SystemExit(f"{place} is new and serves {image(place / 'base')}: nothing to compare")
    if image(packaged / "base") == image(place / "base"):
        raise SystemExit(f"{place} serves {image(place / 'base')} already; package another release")
    shutil.rmtree(place / "next", ignore_errors=True)
    shutil.copytree(packaged / "base", place / "next")
    share(place, weight, shadow=not weight)
    return image(place / "next")


def begin(place: Path, packaged: Path) -> None:
    """Make PLACE, whole or not at all. Raises SystemExit where it holds something else."""
    if place.exists() and any(place.iterdir()):
        raise SystemExit(f"{place} has files, but no base: promote, rollback, or an empty folder")
    draft = place.with_name(f".{place.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(packaged, draft)
    draft.replace(place)


def promote(place: Path) -> str:
    """The canary serves all requests; gives its image."""
    if not (place / "next").is_dir():
        if (place / RELEASE).is_dir():
            share(place, 0)  # all it lacks, if a kill came before it
        raise SystemExit(f"{place}: there is no canary to promote")
    if (place / "base").is_dir():
        shutil.rmtree(place / "before", ignore_errors=True)
        (place / "base").rename(place / "before")
    (place / "next").rename(place / "base")
    share(place, 0)
    return image(place / "base")


def rollback(place: Path) -> str:
    """Away with the canary; where there is none, what served before serves again: its image."""
    serves = (place / "base").is_dir()
    if serves and (place / "next").is_dir():
        share(place, 0)  # first: done once more after a kill, it must not take the release back
        shutil.rmtree(place / "next")
        return image(place / "base")
    if not (place / "before").is_dir():
        if (place / RELEASE).is_dir():
            share(place, 0)  # all it lacks, if a kill came before it
        raise SystemExit(f"{place}: there is neither a canary nor a release before this one")
    if serves:
        (place / "base").rename(place / "next")
    (place / "before").rename(place / "base")
    shutil.rmtree(place / "next", ignore_errors=True)
    share(place, 0)
    return image(place / "base")


def share(place: Path, weight: int, shadow: bool = False) -> None:
    """Write the component that runs the canary, and name it in every overlay."""
    runs = bool(weight) or shadow
    base = place / ("next" if runs else "base")
    name = read(base, "deployment")["metadata"]["name"]
    objects = [*canary(base, runs, shadow), route(name, weight, shadow)]
    overlays = unnamed(place)
    folder = place / RELEASE
    folder.mkdir(exist_ok=True)
    text = yaml.safe_dump_all(objects, sort_keys=False, width=1000)
    (folder / "canary.yaml").write_text(text, encoding="utf-8")
    component: Json = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    component["resources"] = ["canary.yaml"]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(component), encoding="utf-8")
    for overlay in overlays:
        text = overlay.read_text(encoding="utf-8").rstrip("\n")
        overlay.write_text(f"{text}\ncomponents:\n  - ../{RELEASE}\n", encoding="utf-8")


def unnamed(place: Path) -> list[Path]:
    """Overlays that lack components. Raises SystemExit for one with others, changing nothing."""
    found = []
    for overlay in place.glob("*/kustomization.yaml"):
        named = yaml.safe_load(overlay.read_text(encoding="utf-8"))
        if "../base" in named.get("resources", []) and "components" not in named:
            found.append(overlay)
        elif f"../{RELEASE}" not in named.get("components", [f"../{RELEASE}"]):
            raise SystemExit(f"{overlay}: add `- ../{RELEASE}` to its components, then once more")
    return found


def canary(base: Path, runs: bool, shadow: bool = False) -> list[Json]:
    """Deployment, Service and NetworkPolicy of the canary: the base's under another name.

    Secret, request log and ServiceMonitor are the base's; its metrics have its Service's name.
    In the shadow it has a log of its own, or the monitor would count each request twice.
    """
    found = [read(base, name) for name in ("deployment", "service", "network")]
    name = found[0]["metadata"]["name"]
    for document in found:
        labels = document["metadata"].pop("labels", None)
        _rename(document, name)
        document["metadata"]["name"] = f"{name}-canary"
        if labels:
            document["metadata"]["labels"] = labels
    found[0]["spec"]["replicas"] = 1 if runs else 0
    if shadow:
        (service,) = found[0]["spec"]["template"]["spec"]["containers"]
        service["env"].append({"name": "SERVICE_LOG_FOLDER", "value": SHADOW_LOG})
    return found


def _rename(value: Any, name: str) -> None:
    """What selects the base's pods by their label, and the label itself, are the canary's."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        if key == LABEL and one == name:
            value[key] = f"{name}-canary"
        elif isinstance(one, dict | list):
            _rename(one, name)


def route(name: str, weight: int, shadow: bool = False) -> Json:
    """Who gets how many of the requests that come to the Gateway `name`, and who a copy of all."""
    shares = {name: 100 - weight, f"{name}-canary": weight}
    backends = [{"name": to, "port": 80, "weight": share} for to, share in shares.items()]
    rule: Json = {"backendRefs": backends}
    if shadow:
        copies = {"backendRef": {"name": f"{name}-canary", "port": 80}}
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": copies}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": name}], "rules": [rule]},
    }


def read(base: Path, name: str) -> Any:
    return yaml.safe_load((base / f"{name}.yaml").read_text(encoding="utf-8"))


def image(base: Path) -> str:
    """The image that a base runs."""
    (service,) = read(base, "deployment")["spec"]["template"]["spec"]["containers"]
    return str(service["image"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=["start", "shadow", "promote", "rollback"])
    parser.add_argument("--place", type=lambda text: Path(text).expanduser(), required=True)
    parser.add_argument("--weight", type=int, default=10, help="per cent of the requests")
    asked = parser.parse_args()
    if asked.command == "start":
        print(f"canary: {asked.weight} % for {start(asked.place, PACKAGED, asked.weight)}")
    elif asked.command == "shadow":
        print(f"canary: a copy of all requests for {start(asked.place, PACKAGED, 0)}")
    else:
        done = {"promote": promote, "rollback": rollback}[asked.command]
        print(f"{asked.command}: {done(asked.place)} serves all")
    print(f"kubectl apply -k {asked.place}/production")


if __name__ == "__main__":
    main()
