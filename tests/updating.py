"""A device with a service, and what signs models for it: what the tests of updates share."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shipped
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from shared import bundles, lineage, params, updates
from shared.bundles import Manifest

ROOT = Path(__file__).parent.parent
CHAIN = {"name": "demo", "bento": "demo:1", "model_version": "packaged"}


def keys(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """A new private key and its public one, in files."""
    key, private, public = Ed25519PrivateKey.generate(), folder / f"{name}.pem", folder / name
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


class Device:
    """The small service in `folder`/service, its models in `folder`/live, signed by one key."""

    def __init__(self, folder: Path, document: dict[str, Any], **edge: float) -> None:
        self.folder, self.service, self.live = folder, folder / "service", folder / "live"
        self.service.mkdir(parents=True)
        shipped.write(self.service, document)
        objectives = yaml.safe_dump(document | {"targets": {"edge": edge}})
        (folder / "objectives.yaml").write_text(objectives)
        params.write_json(self.service / "provenance.json", CHAIN)
        self.private, self.public = keys(folder)

    def model(self, version: str, factor: Any) -> Path:
        """An export that multiplies by `factor`."""
        place = self.folder / "made" / version
        params.write_json(place / "model.json", factor)
        params.write_json(place / "provenance.json", CHAIN | {"model_version": version})
        return place

    def sign(self, version: str, factor: Any, sequence: int) -> Path:
        """A bundle with the answer that the model must give, which no service is asked for here."""
        bundle, model = self.folder / f"{version}.bundle", self.model(version, factor)
        answer = {"body": {"number": 2.5}, "answer": {"product": 2.5 * factor}}
        golden = {"tolerance": 0.01, "latency_ms": 5000, "memory_mb": 500}
        answers = [{"path": "/multiply", **answer}]
        params.write_json(model / "golden.json", golden | {"answers": answers})
        about = {"name": "demo", "sequence": sequence, "version": version}
        bundles.write(bundle, {path.name: path for path in model.iterdir()}, about, self.private)
        return bundle

    def install(self, bundle: Path, **options: Any) -> str:
        return updates.install(bundle, self.live, [self.public], self.service, **options)

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "shared.updates", *map(str, arguments)]

    def begin(self, bundle: Path, *more: str) -> "subprocess.Popen[str]":
        """`install` as a process; what it begins is told on its standard error."""
        command = self.command("install", bundle, "--key", self.public, "--live", self.live)
        return subprocess.Popen(
            [*command, *more],
            cwd=self.service,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def serves(self) -> Any:
        """The factor of the model that a service would load now."""
        folder = lineage.serving(self.live) if lineage.current(self.live) else self.packaged
        return params.read_json(folder / "model.json")

    @property
    def packaged(self) -> Path:
        return self.service / "export"

    def state(self) -> dict[str, bytes]:
        """All that lies in live/, by name."""
        files = [path for path in self.live.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.live)): path.read_bytes() for path in files}


def entries(bundle: Path) -> dict[str, bytes]:
    """The files of a bundle, manifest and signature included, in their order."""
    with tarfile.open(bundle) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]


def packed(files: Mapping[str, bytes]) -> bytes:
    """A bundle of these, whatever the manifest among them says."""
    parts = [bundles.header(n, len(c)) + c + bundles.padding(len(c)) for n, c in files.items()]
    return b"".join([*parts, bundles._end(sum(map(len, parts)))])


def manifest(bundle: Path, device: Device) -> Manifest:
    return bundles.read(bundle, [device.public])
