"""Stage `package`: the Bento with all it imports -> dist/; the model registered as challenger.

    python -m shared.packaging

BentoML includes only what lies in its build folder; `shared` may lie two folders up. So the
service, the local modules it imports, `shared`, export/ and exact serving requirements are copied
into build/ and built from there.
"""

import ast
import contextlib
import importlib.metadata
import re
import shutil
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared import params, provenance, registry

BUILD, DIST = Path("build"), Path("dist")


def local_imports(script: Path) -> list[Path]:
    """Python files beside `script` that it imports, directly or not, itself first."""
    found = [script]
    for path in found:
        for name in _imported(path):
            module = script.parent / f"{name}.py"
            if module.exists() and module not in found:
                found.append(module)
    return found


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def pinned(requirements: Path) -> list[str]:
    """Exact versions, as installed and so as tested, of all that a requirements file needs, sorted.

    Raises SystemExit when one of them is not installed.
    """
    lines = requirements.read_text(encoding="utf-8").splitlines()
    named = [line.split("#")[0].strip() for line in lines]
    given = [Requirement(line) for line in named if line]
    queue = [requirement for requirement in given if _applies(requirement, frozenset())]
    pins: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        wanted = queue.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise SystemExit(f"{requirements}: {wanted} is not installed; run make setup") from None
        # A CPU build's local version ("+cpu") is not on the index.
        pins[name] = distribution.version.split("+")[0]
        inner = [Requirement(text) for text in distribution.requires or []]
        queue += [requirement for requirement in inner if _applies(requirement, extras)]
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Is it needed here, with these extras of the package that names it?"""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ["", *extras])


def assemble(folder: Path = Path(), build: Path = BUILD) -> dict[str, Any]:
    """Fill `build` with everything the Bento needs; gives the provenance written into it."""
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    for path in [*local_imports(folder / "service.py"), folder / "params.yaml"]:
        shutil.copy2(path, build / path.name)
    bare = shutil.ignore_patterns("__pycache__")
    shutil.copytree(folder / "export", build / "export", ignore=bare)
    shutil.copytree(Path(__file__).parent, build / "shared", ignore=bare)
    pins = "\n".join(pinned(folder / "requirements-serve.txt"))
    (build / "requirements-serve.txt").write_text(pins + "\n", encoding="utf-8")
    chain = provenance.collect(folder)
    chain["bento"] = f"{chain['name']}:{chain['model_version']}-{chain['pipeline'][:8]}"
    params.write_json(build / "provenance.json", chain)
    # BentoML imports the service here, which then makes the key of its request ids.
    (build / ".bentoignore").write_text("/logs/\n", encoding="utf-8")
    return chain


def build(chain: dict[str, Any], build: Path = BUILD, dist: Path = DIST) -> Path:
    """Build the Bento from the filled folder and export its archive; gives the archive's path."""
    import bentoml
    from bentoml.exceptions import BentoMLException

    name, version = chain["bento"].split(":")
    # Of the same results, whole or cut off by a kill; a list of all would stumble over any that is
    # being built beside this one.
    with contextlib.suppress(BentoMLException):
        bentoml.delete(chain["bento"])
    script = (build / "service.py").read_text(encoding="utf-8")
    service = re.search(r"@bentoml\.service.*?class (\w+)", script, re.DOTALL)
    if service is None:
        raise SystemExit("service.py: no class under @bentoml.service")
    labels = {key: str(chain[key]) for key in ["git_commit", "pipeline", "model_version"]}
    bento = bentoml.build(
        f"service:{service[1]}",
        name=name,
        version=version,
        build_ctx=str(build),
        include=["**"],
        labels=labels,
    )
    dist.mkdir(exist_ok=True)
    archive = dist / f"{name}.bento"
    archive.unlink(missing_ok=True)
    bento.export(str(archive.resolve()))  # a relative path would be taken as one from the root
    return archive


def main() -> None:
    if not params.read_json("reports/objectives.json")["passed"]:
        raise SystemExit("package: the gate has not passed; nothing is built or registered")
    chain = assemble()
    archive = build(chain)
    version = registry.register()
    outcome = f"version {version}: challenger" if version else "not registered yet"
    print(f"package: {chain['bento']} in {archive}; {chain['name']} {outcome}")


if __name__ == "__main__":
    main()
