"""What is the same in every blueprint's retrain.py, which calls these in order:

    arguments    which key result was missed, and where live/ and the service are
    workspace    a copy of the blueprint in live/work/
    version      DVC keeps the grown data; their hash
    ease         key results whose place the comparison takes leave the gate
    configure    parameters of this run, e.g. the grown data as source
    reproduce    `dvc repro` there, with the gate as in every release
    finish       the new model is served if the comparison proves it better

`audit` adds a line to live/audit.jsonl. Refused and Failed end the script; the champion stays.
"""

import argparse
import dataclasses
import functools
import operator
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from shared import lineage, objectives, params, provenance, registry, releasing
from shared.audit import FOLDER, KEY_RESULT, SERVICE, folder, tail
from shared.audit import Failed as Failed
from shared.audit import Refused as Refused
from shared.audit import append as audit
from shared.comparing import Comparison
from shared.workspace import DVC, dvc, environment, project
from shared.workspace import workspace as workspace

SERVED_S = 120.0


def arguments(description: str | None) -> argparse.Namespace:
    """key_result, live (a path), service (an address or None), as the actions server sets them;
    champion is the model that serves now."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    by_hand = os.environ.get(KEY_RESULT, "by-hand")
    parser.add_argument("--key-result", default=by_hand, help="the one that was missed")
    parser.add_argument("--live", type=Path, default=folder())
    parser.add_argument("--service", default=os.environ.get(SERVICE), help="its address")
    asked = parser.parse_args()
    asked.champion = lineage.current(asked.live)
    os.nice(10)  # the service on this machine comes first
    os.environ |= {KEY_RESULT: asked.key_result, FOLDER: str(asked.live.resolve())}
    return asked


def version(data: Path) -> str:
    """Keep the present state of live/data, or of what is in it, in DVC's cache; gives its hash."""
    project(folder())
    done = dvc(data.parent, "add", data.name)
    if done.returncode != 0:
        raise Failed(f"dvc add {data}: {done.stderr.strip()}")
    pointer = params.load_yaml(data.with_name(f"{data.name}.dvc"))
    return str(pointer["outs"][0]["md5"])


def ease(work: Path, names: tuple[str, ...]) -> None:
    """Take release key results out of the workspace's gate."""
    path = work / "objectives.yaml"
    document = params.load_yaml(path)
    for objective in document["objectives"]:
        kept = [result for result in objective["key_results"] if result["id"] not in names]
        objective["key_results"] = kept
    with params.atomic(path) as draft:
        draft.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def configure(work: Path, changes: dict[str, Any]) -> None:
    """Set parameters, by dotted names, in the workspace's params.yaml; its comments stay.

    Raises Failed for a name that is not there.
    """
    from ruamel.yaml import YAML  # comes with DVC; services do without

    yaml, path = YAML(), work / "params.yaml"
    yaml.preserve_quotes, yaml.width = True, 4096
    values = yaml.load(path)
    known = params.flatten(values)
    for name, value in changes.items():
        if name not in known:
            raise Failed(f"params.yaml: {name}: unknown key")
        *sections, last = name.split(".")
        functools.reduce(operator.getitem, sections, values)[last] = value
    with params.atomic(path) as draft:
        yaml.dump(values, draft)


def reproduce(work: Path, *targets: str) -> None:
    """`dvc repro` in the workspace; what it says goes to live/retrain.log.

    Raises Refused with the gate's lines if the gate stops it, Failed otherwise.
    """
    log, begin = work.parent / "retrain.log", time.monotonic()
    command = [str(DVC), "repro", *targets]
    with log.open("ab") as output:
        start = log.stat().st_size
        streams: Any = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        code = subprocess.call(command, cwd=work, env=environment(), **streams)
    end = tail(log, min(log.stat().st_size - start, 100_000)).decode(errors="replace")
    said = [line for line in end.splitlines() if line.strip()]
    missed = [line for line in said if line.startswith("gate: ") and " missed: " in line]
    if code and missed:
        raise Refused("; ".join(line.removeprefix("gate: ") for line in missed))
    if code:
        raise Failed(f"dvc repro: {' | '.join(said[-4:])}")
    audit("reproduced", work.parent, seconds=round(time.monotonic() - begin, 1))


def finish(asked: argparse.Namespace, work: Path, comparison: Comparison) -> str:
    """The workspace's model becomes champion and is served, if it is better; gives its version.

    Raises Refused if it is not, or was rolled back before; Failed if it cannot be served.
    """
    live, loaded = asked.live, objectives.load(work / "objectives.yaml")
    model = provenance.file_hash(*provenance.model_files(work / "export"))[:12]
    audit("challenger", live, version=model, champion=lineage.current(live))
    audit("compared", live, **dataclasses.asdict(comparison))
    if model in lineage.rolled_back(live):
        raise Refused(f"version {model} was rolled back before")
    if (serves := lineage.current(live)) not in (asked.champion, model):
        raise Refused(f"{serves} took the place of {asked.champion} meanwhile: compare with that")
    promoted, reason = registry.promote_live(loaded, comparison, model, asked.champion or "")
    if not promoted:
        raise Refused(reason)
    try:
        releasing.deploy(work / "export", live)
    except OSError as error:  # the alias follows what is served
        registry.withdraw(loaded.name, model)
        raise Failed(f"version {model} could not be deployed: {error}") from None
    audit("promoted", live, version=model, registry=reason)
    if asked.service:
        _see_it_served(asked.service, model, live)
    return model


def _see_it_served(service: str, model: str, live: Path) -> None:
    """A service that answers and keeps its old model has refused the new one: back with it."""
    if releasing.served(service, model, SERVED_S):
        audit("served", live, version=model)
        return
    if (found := releasing.says(service)) is None:
        raise Failed(f"{service} does not answer; it will serve {model} when it is back")
    if found == model:  # overloaded, it did not answer every time
        audit("served", live, version=model)
        return
    try:
        audit("rolled_back", live, version=model, to=releasing.rollback(live))
    except Refused as refused:
        why = str(refused).removeprefix("refused: ")
        raise Failed(f"{service} refuses {model} and serves {found}; {why}") from None
    raise Failed(f"{service} refuses {model} and serves {found}; its log says why")
