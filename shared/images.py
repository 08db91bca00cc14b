"""Container images of a packaged service: built, labelled with their provenance, held to budgets.

    python -m shared.images build --target cloud                    in a blueprint's folder
    python -m shared.images build --target edge --platform linux/arm64

cloud        the Bento in dist/, served by BentoML
edge         build/ with the packages of requirements-edge.txt, served by shared/edge.py
standalone   the cloud image and what stands around it on one host: see shared/standalone.py
"""

import argparse
import contextlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared import engine, hashes, objectives, packaging, params

TARGETS = ("cloud", "edge")  # of one image
EVERY = (*TARGETS, "standalone")


def provenance(folder: Path) -> dict[str, Any]:
    """The chain of what was packaged last. Raises SystemExit where nothing was."""
    path, archives = folder / "build/provenance.json", list((folder / "dist").glob("*.bento"))
    if not path.exists() or not archives:
        raise SystemExit(f"nothing is packaged yet; run: make demo B={folder.resolve().name}")
    return dict(params.read_json(path))


def tag(chain: dict[str, Any], target: str, platform: str) -> str:
    """The image's name and tag; one per target, model and platform."""
    name, version = chain["bento"].split(":")
    return f"{name}-{target}:{version}-{platform.partition('/')[2]}"


def labels(folder: Path, chain: dict[str, Any]) -> dict[str, str]:
    """Where an image comes from and what its licence is, for `docker inspect`."""
    named = {"title": "name", "version": "model_version", "revision": "git_commit"}
    standard = {f"org.opencontainers.image.{key}": chain[value] for key, value in named.items()}
    if licence := objectives.load(folder / "objectives.yaml").licence:
        standard["org.opencontainers.image.licenses"] = licence
    own = ("bento", "data", "git_dirty", "model_version", "pipeline")
    return standard | {f"blueprint.{key}": str(chain[key]) for key in own}


def based(base: str) -> dict[str, str]:
    """Labels of what an image is built on; one that was made here has no digest."""
    told = engine.docker("image", "inspect", "--format", "{{json .RepoDigests}}", base)
    digests = [one.partition("@")[2] for one in json.loads(told) or []]
    return {
        "org.opencontainers.image.base.name": base,
        "org.opencontainers.image.base.digest": digests[0] if digests else "none",
    }


@contextlib.contextmanager
def context(folder: Path, target: str) -> Iterator[Path]:
    """A temporary folder with all that the target's Dockerfile copies."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "logs").mkdir()
        if target == "cloud":
            (archive,) = (folder / "dist").glob("*.bento")
            with tarfile.open(archive) as packed:
                # Debian's Python 3.11.2 has no argument `filter`; the archive is our own.
                packed.extraction_filter = getattr(tarfile, "data_filter", None)
                packed.extractall(place / "bento")  # noqa: S202
            pinned = place / "bento/env/python/requirements.txt"
            pins = pinned.read_text(encoding="utf-8").split()
        else:
            # What was served from it meanwhile, as the smoke test does, left traces.
            bare = shutil.ignore_patterns("__pycache__", "logs", ".bentoignore")
            shutil.copytree(folder / "build", place / "service", ignore=bare)
            pins = packaging.pinned(folder / "requirements-edge.txt")
        (place / "requirements.txt").write_text(hashes.hashed(pins), encoding="utf-8")
        readable(place)
        yield place


def readable(folder: Path) -> None:
    """For all: a container's user reads what this user, with whatever umask, has written."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))


def build(folder: Path, target: str, platform: str) -> str:
    """Build the image and hold it to its budget; gives its tag.

    Raises SystemExit where nothing is packaged, the build fails or the image is too large.
    """
    chain = provenance(folder)
    if target == "edge" and not (folder / "build/shared/edge.py").exists():
        raise SystemExit("packaged with an older shared/; run: dvc repro --force -s package")
    engine.start()
    base, name = engine.base_image(platform), tag(chain, target, platform)
    arguments = ["--platform", platform, "--build-arg", f"BASE_IMAGE={base}"]
    if target == "edge":
        arguments += ["--build-arg", f"BUILD_IMAGE={engine.base_image(engine.native())}"]
    for key, value in (labels(folder, chain) | based(base)).items():
        arguments += ["--label", f"{key}={value}"]
    file = engine.DEPLOY / f"Dockerfile.{target}"
    with context(folder, target) as place:
        engine.docker("build", "--tag", name, "--file", str(file), *arguments, str(place))
    model = sum(path.stat().st_size for path in (folder / "build/export").rglob("*"))
    check(folder, target, {"image_mb": size_mb(name), "model_mb": model / 1e6})
    return name


def size_mb(name: str) -> float:
    """All layers together, uncompressed."""
    return int(engine.docker("image", "inspect", "--format", "{{.Size}}", name)) / 1e6


def budget(folder: Path, target: str) -> objectives.Budget:
    """What objectives.yaml allows the target to take."""
    targets = objectives.load(folder / "objectives.yaml").targets
    return {str(name): one for name, one in targets.items()}.get(target, objectives.Budget())


def check(folder: Path, target: str, measured: dict[str, float]) -> None:
    """Print each figure beside its budget in objectives.yaml; SystemExit for those above it."""
    allowed, missed, what = dict(budget(folder, target)), [], f"{folder.resolve().name} {target}"
    for name, value in measured.items():
        most = allowed.get(name)
        print(f"{what}: {name} {value:.4g}" + (f" of {most:g}" if most else ""))
        if most is not None and value > most:
            missed.append(f"{name} is {value:.4g}, the budget {most:g}")
    if missed:
        raise SystemExit(f"{what}: {'; '.join(missed)} (objectives.yaml: targets)")


def parser(
    description: str | None, *commands: str, targets: tuple[str, ...] = TARGETS
) -> argparse.ArgumentParser:
    """The command line: command, --target, --platform."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("command", choices=commands)
    options.add_argument("--target", choices=targets, required=True)
    options.add_argument("--platform", default=engine.native(), help="e.g. linux/arm64")
    return options


def main() -> None:
    asked = parser(__doc__, "build", targets=EVERY).parse_args()
    if asked.target == "standalone":
        from shared import standalone  # which builds on this module

        print("\n".join(standalone.build(Path(), asked.platform)))
    else:
        print(build(Path(), asked.target, asked.platform))


if __name__ == "__main__":
    main()
