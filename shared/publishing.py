"""Hands on what was built: an image to a registry, and the files of a release to a folder.

    python -m shared.publishing push --target edge --registry ghcr.io/OWNER/REPOSITORY
    python -m shared.publishing files --target edge --folder ../../release [--key KEY.pem]

push    after docker login, and after the image's list was written; prints image=, digest= and
        sbom=, what attestations are about. An image on a base that was made here is refused: it
        trusts this machine's certificate authorities.
files   cloud: the Bento; edge: the archive of deploy-files and its hash; both: the image's list.
        With a key, the same as of models, each has its signature in a file beside it: NAME.sig
"""

import argparse
import json
import shutil
from pathlib import Path

from shared import bundles, engine, images, params, sbom

LOCAL = "not-for-publication"


def listed(folder: Path, target: str, platform: str) -> Path:
    """The list of the image's packages. Raises SystemExit where it is missing, or of another."""
    path, wanted = folder / "dist" / sbom.file_name(target, platform), "no list of packages"
    if path.exists():
        models = sbom.models(params.read_json(path))
        if images.provenance(folder)["model_version"] in models:
            return path
        wanted = f"{path} is of model {', '.join(models) or 'none'}, not of the one packaged"
    raise SystemExit(f"{wanted}; run: make sbom B={folder.resolve().name} TARGET={target}")


def push(folder: Path, target: str, platform: str, registry: str) -> tuple[str, str]:
    """The image's name in the registry, without a tag, and the digest it has there.

    Raises SystemExit where the image is missing, not for publication, or cannot be pushed.
    """
    name = images.tag(images.provenance(folder), target, platform)
    engine.start()
    if not engine.works("image", "inspect", name):
        blueprint = folder.resolve().name
        raise SystemExit(f"no image {name}; run: make image B={blueprint} TARGET={target}")
    if LOCAL in (json.loads(_field(name, "Config.Labels")) or {}):
        raise SystemExit(f"{name} is built on a base image that was made here; it stays here")
    remote = f"{registry.rstrip('/').lower()}/{name}"
    engine.docker("tag", name, remote)
    engine.docker("push", "--quiet", remote)
    place = remote.rpartition(":")[0]
    known = json.loads(_field(remote, "RepoDigests"))
    (digest,) = [one.rpartition("@")[2] for one in known if one.startswith(f"{place}@")]
    return place, digest


def _field(name: str, field: str) -> str:
    return engine.docker("image", "inspect", "--format", f"{{{{json .{field}}}}}", name)


def files(
    folder: Path, target: str, platform: str, place: Path, key: Path | None = None
) -> list[Path]:
    """Copy what a release has of a target to `place`, each under a name of its own.

    key: an Ed25519 private key in PEM, which signs them. Raises SystemExit where one is missing.
    """
    if key and not key.is_file():
        raise SystemExit(f"--key {key}: no such file; docs/targets.md says how to make one")
    title = images.provenance(folder)["bento"].replace(":", "-")
    path = listed(folder, target, platform)
    wanted = {path: f"{title}-{path.name}"}
    if target == "cloud":
        wanted |= dict.fromkeys((folder / "dist").glob("*.bento"), f"{title}.bento")
    else:
        archives = list((folder / "dist/deploy" / target).glob(f"{title}.tar.gz*"))
        if not archives:
            name = folder.resolve().name
            raise SystemExit(f"no archive {title}; run: make deploy-files B={name} TARGET={target}")
        wanted |= {archive: archive.name for archive in archives}
    place.mkdir(parents=True, exist_ok=True)
    copies = [Path(shutil.copy2(path, place / name)) for path, name in wanted.items()]
    return copies + ([signed(path, key) for path in copies] if key else [])


def signed(path: Path, key: Path) -> Path:
    """The signature of a file, beside it, as `openssl pkeyutl -verify -rawin` takes it."""
    place = path.with_name(f"{path.name}.sig")
    place.write_bytes(bundles.signature(path.read_bytes(), key))
    return place


def main() -> None:
    options = images.parser(__doc__, "push", "files")
    options.add_argument("--registry", help="push: host and path")
    options.add_argument("--folder", type=Path, help="files: where to")
    options.add_argument("--key", type=Path, help="files: signs them; private, Ed25519 in PEM")
    asked: argparse.Namespace = options.parse_args()
    which = Path(), asked.target, asked.platform
    if asked.command == "files" and asked.folder:
        print("\n".join(map(str, files(*which, asked.folder, asked.key))))
    elif asked.command == "push" and asked.registry:
        path = listed(*which).resolve()
        image, digest = push(*which, asked.registry)
        print(f"image={image}\ndigest={digest}\nsbom={path}")
    else:
        options.error("push needs --registry, files needs --folder")


if __name__ == "__main__":
    main()
