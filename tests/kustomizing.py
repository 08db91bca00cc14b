"""What kustomize would pass over in silence: a patch without a target, an image that nobody runs.

Every file that a kustomization names must be there, every patch must have a target and change a
field that is there (or add to one), every image must be one of a container.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]


def gathered(folder: Path) -> tuple[list[Json], list[str]]:
    """All objects of the kustomization in `folder`, unpatched, and what does not resolve."""
    named = yaml.safe_load((folder / "kustomization.yaml").read_text())
    objects, wrong = [], []
    for path in (
        folder / name for key in ("resources", "components") for name in named.get(key, [])
    ):
        if path.is_dir():
            more, further = gathered(path)
            objects, wrong = objects + more, wrong + further
        elif path.is_file():
            objects += [*yaml.safe_load_all(path.read_text())]
        else:
            wrong.append(f"{path} is not there")
    for patch in named.get("patches", []):
        wrong += unresolved(folder, patch, objects)
    run = {image.rpartition(":")[0] for one in objects for image in images(one)}
    wrong += [
        f"no container runs {i['name']}" for i in named.get("images", []) if i["name"] not in run
    ]
    return objects, wrong


def unresolved(folder: Path, patch: Json, objects: list[Json]) -> list[str]:
    """What of a patch does not resolve."""
    kind, name = patch["target"]["kind"], patch["target"]["name"]
    targets = [
        one
        for one in objects
        if one["kind"] == kind and re.fullmatch(name, one["metadata"]["name"])
    ]
    if not targets:
        return [f"there is no {kind} {name}"]
    if "path" in patch and not (folder / patch["path"]).is_file():
        return [f"{folder / patch['path']} is not there"]
    text = patch["patch"] if "patch" in patch else (folder / patch["path"]).read_text()
    return [
        f"{kind} {target['metadata']['name']} has no {step['path']} to {step['op']}"
        for step in (json.loads if text.startswith("[") else yaml.safe_load)(text)
        for target in targets
        if not there(target, step["path"], step["op"])
    ]


def there(value: Any, path: str, operation: str) -> bool:
    """Is there what a JSON patch replaces, or where it adds?"""
    *parts, last = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    try:
        for part in parts:
            value = value[int(part)] if isinstance(value, list) else value[part]
        if operation == "add":
            return isinstance(value, dict) or (isinstance(value, list) and last == "-")
        return (int(last) < len(value)) if isinstance(value, list) else last in value
    except (KeyError, IndexError, ValueError, TypeError):
        return False


def images(value: Any) -> list[str]:
    """Every container's image in an object."""
    if isinstance(value, list):
        return [image for one in value for image in images(one)]
    if not isinstance(value, dict):
        return []
    own = [value["image"]] if isinstance(value.get("image"), str) else []
    return own + [image for one in value.values() for image in images(one)]


def switch_on(overlay: Path) -> None:
    """Take the `#` from every patch in an overlay's kustomization.yaml, and not from its prose."""
    path = overlay / "kustomization.yaml"
    path.write_text(re.sub(r"(?m)^  # (?=- |  )", "  ", path.read_text()))
