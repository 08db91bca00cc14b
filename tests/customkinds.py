"""Manifests that kubernetes_validate does not know, held to their fields: a misspelt one fails.

What operators define lies in schemas/, as published; each file says where it is from.
"""

import json
from pathlib import Path
from typing import Any, Literal

import jsonschema
from pydantic import BaseModel, ConfigDict

SCHEMAS = Path(__file__).parent / "schemas"
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA = {"name": {"type": "string"}, "labels": TEXTS}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Labels(Strict):
    pairs: dict[str, str]
    includeSelectors: bool = False


class Image(Strict):
    name: str
    newName: str


class Target(Strict):
    kind: str
    name: str


class Patch(Strict):
    target: Target
    patch: str | None = None
    path: str | None = None


class Component(Strict):
    """Fields that are used here, of kubectl's reference of kustomization.yaml:

    https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/
    """

    apiVersion: Literal["kustomize.config.k8s.io/v1alpha1"]
    kind: Literal["Component"]
    resources: list[str] = []


class Kustomization(Strict):
    """Likewise."""

    apiVersion: Literal["kustomize.config.k8s.io/v1beta1"]
    kind: Literal["Kustomization"]
    namespace: str | None = None
    labels: list[Labels] = []
    resources: list[str]
    components: list[str] = []
    images: list[Image] = []
    patches: list[Patch] = []


def check(document: dict[str, Any]) -> None:
    """Raises pydantic's or jsonschema's ValidationError with the field that is wrong."""
    kind = document["kind"]
    if kind in ("Kustomization", "Component"):
        {"Kustomization": Kustomization, "Component": Component}[kind].model_validate(document)
        return
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())
    schema["properties"]["metadata"] = {"properties": METADATA, "required": ["name"]}
    jsonschema.validate(document, closed(schema))


def closed(schema: Any) -> Any:
    """The same without fields that it does not name, which Kubernetes would drop in silence."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found
