"""The repository keeps its rules: same files everywhere, dependencies, budgets, exact pins."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from shared import objectives, packaging, params, serving

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parent.parent
BLUEPRINTS = sorted(path for path in (ROOT / "blueprints").iterdir() if path.is_dir())
STAGES = [
    "ingest",
    "validate",
    "explore",
    "prepare",
    "train",
    "evaluate",
    "export",
    "gate",
    "package",
]
FILES = [f"{name}.py" for name in STAGES if name not in ("gate", "package")]
FILES += [
    "model.py",
    "predictor.py",
    "service.py",
    "batch.py",
    "bench.py",
    "monitor.py",
    "README.md",
    "objectives.yaml",
]
FILES += [
    "params.yaml",
    "dvc.yaml",
    "requirements.txt",
    "requirements-serve.txt",
    "requirements-edge.txt",
    ".dvc/config",
    ".dvcignore",
]
# (lines a file may have instead of its budget, why)
EXCEPTIONS = {
    "blueprints/cv/train.py": (235, "the training loop is the subject and is written out"),
    "blueprints/cv/evaluate.py": (175, "every score against every baseline in one place"),
}

FUNCTION_LINES = 40
# function: lines it may have instead
LONGER_FUNCTIONS = {"blueprints/cv/train.py:fit": 60}  # the training loop, to be read in one piece


@pytest.fixture(params=BLUEPRINTS, ids=lambda path: path.name)
def blueprint(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_blueprint_has_the_same_files_and_stages(blueprint: Path) -> None:
    assert [name for name in FILES if not (blueprint / name).exists()] == []
    assert list(yaml.safe_load((blueprint / "dvc.yaml").read_text())["stages"]) == STAGES


def test_every_local_module_a_stage_imports_is_its_dependency(blueprint: Path) -> None:
    for name, stage in yaml.safe_load((blueprint / "dvc.yaml").read_text())["stages"].items():
        script = blueprint / ("service.py" if name == "package" else f"{name}.py")
        if name != "gate":
            imported = {path.name for path in packaging.local_imports(script)}
            assert imported <= set(stage["deps"]), (
                f"{name}: {imported - set(stage['deps'])} not in deps"
            )


SECTIONS = ["Use your own ", "Take it away", "In production", "Deploy"]
SECTIONS += ["Architecture", "Data card"]
MORE_SECTIONS = {"rl": "When not to use RL"}
ROUTES = {"cv": "/classify", "timeseries": "/forecast", "rl": "/act", "genai": "/extract"}
MORE_ROUTES = {"rl": ["/simulate"]}  # a policy is judged by episodes


def test_readmes_have_the_same_sections(blueprint: Path) -> None:
    titles = re.findall(r"^## (.*)", (blueprint / "README.md").read_text(), re.MULTILINE)
    titles = [title for title in titles if title != MORE_SECTIONS.get(blueprint.name)]
    assert len(titles) == len(SECTIONS)
    for title, section in zip(titles, SECTIONS, strict=True):
        assert title.startswith(section)
    text = (blueprint / "README.md").read_text()
    assert text.count("```mermaid") == 3, "deployment, context, containers"


def test_stages_have_the_same_outputs(blueprint: Path) -> None:
    """What reports, gate and tracking read has one name everywhere."""
    stages = yaml.safe_load((blueprint / "dvc.yaml").read_text())["stages"]
    for name, command in {name: f"python {name}.py" for name in STAGES[:-2]}.items():
        assert stages[name]["cmd"] == command and name in stages[name]["params"]
    found = [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in stages.values()
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]
    ]
    wanted = {"data/raw", "data/prepared", "models", "plots", "export", "metrics.json"}
    wanted |= {"export.json", "reports/explore.html", "reports/validation.json"}
    wanted |= {"reports/reference.json", "reports/objectives.json", "reports/objectives.md"}
    wanted |= {"build/provenance.json"}  # or a stage that packs nothing would pass for done
    assert wanted <= set(found)


def test_services_have_one_verb_and_the_common_settings(blueprint: Path) -> None:
    """/info and /feedback come from shared.serving; health and /metrics from BentoML."""
    service = (blueprint / "service.py").read_text()
    assert re.findall(r'@app\.\w+\("(/\w+)"', service) == [
        ROUTES[blueprint.name],
        *MORE_ROUTES.get(blueprint.name, []),
    ]
    assert "serving.application(" in service and "serving.protect(" in service
    settings = params.load_yaml(blueprint / "params.yaml")["service"]
    assert set(serving.ServiceParams.model_fields) <= set(settings)
    assert settings["log_when_full"] == "oldest"


def test_stage_scripts_say_what_they_make(blueprint: Path) -> None:
    for name in STAGES[:-2]:
        docstring = ast.get_docstring(ast.parse((blueprint / f"{name}.py").read_text())) or ""
        assert re.match(rf"Stage `{name}`: .*->", docstring.splitlines()[0])


def test_objectives_are_consistent(blueprint: Path) -> None:
    assert objectives.load(blueprint / "objectives.yaml").key_results


def test_requirements_are_exact_and_in_the_lock(blueprint: Path) -> None:
    locked = set((ROOT / "requirements.lock").read_text().split())
    for name in ("requirements.txt", "requirements-serve.txt", "requirements-edge.txt"):
        for line in (blueprint / name).read_text().splitlines():
            assert line.startswith("#") or line in locked, (
                f"{name}: {line} is not what requirements.lock has"
            )


def test_what_serves_is_installed_with_what_trains(blueprint: Path) -> None:
    """Stage `package` writes the installed versions of it, also in a copied folder."""
    trains, serves = (
        {line for line in (blueprint / name).read_text().splitlines() if "==" in line}
        for name in ("requirements.txt", "requirements-serve.txt")
    )
    assert serves <= trains, serves - trains


def test_serving_needs_neither_torch_nor_mlflow(blueprint: Path) -> None:
    names = {pin.split("==")[0] for pin in packaging.pinned(blueprint / "requirements-serve.txt")}
    assert not names & {"torch", "mlflow", "dvc", "torchvision"}


def test_the_edge_needs_neither_bentoml_nor_a_second_set_of_packages(blueprint: Path) -> None:
    edge, serve = (
        set(packaging.pinned(blueprint / f"requirements-{name}.txt")) for name in ("edge", "serve")
    )
    names = {pin.split("==")[0] for pin in edge}
    signatures = {"cffi", "cryptography", "pycparser"}  # of updates
    served = {pin for pin in edge if pin.split("==")[0] not in signatures}
    assert served < serve, "what is served at the edge is what was tested"
    assert not names & {"bentoml", "feast", "pandas", "pyarrow", "torch"}


def test_files_keep_their_budgets() -> None:
    for path in [
        *ROOT.glob("blueprints/*/*.py"),
        *ROOT.glob("shared/*.py"),
        *ROOT.glob("tests/**/*.py"),
    ]:
        name = path.relative_to(ROOT).as_posix()
        budget = {"blueprints": 150, "shared": 200, "tests": 400}[name.split("/")[0]]
        assert len(path.read_text().splitlines()) <= EXCEPTIONS.get(name, (budget, ""))[0], name


def test_functions_keep_their_budget() -> None:
    long = {}
    for path in [*ROOT.glob("blueprints/*/*.py"), *ROOT.glob("shared/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.relative_to(ROOT).as_posix()}:{node.name}"
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGER_FUNCTIONS.get(name, FUNCTION_LINES):
                    long[name] = lines
    assert long == {}


def test_the_lock_names_no_address() -> None:
    assert not re.search(r"://|--index|--find-links|@ ", (ROOT / "requirements.lock").read_text())


def test_committed_results_come_from_the_committed_code(blueprint: Path) -> None:
    """Scripts and parameters as dvc.lock recorded them; no data needed."""
    import hashlib

    lock = yaml.safe_load((blueprint / "dvc.lock").read_text())["stages"]
    assert list(lock) == list(STAGES)
    sections = params.load_yaml(blueprint / "params.yaml")
    for name, stage in lock.items():
        for dependency in stage["deps"]:
            path = blueprint / dependency["path"]
            if path.suffix in (".py", ".yaml", ".json", ".txt") and path.is_file():
                assert hashlib.md5(path.read_bytes()).hexdigest() == dependency["md5"], (
                    f"{name}: {path.name} changed"
                )
        for section, value in stage.get("params", {}).get("params.yaml", {}).items():
            given = sections
            for key in section.split("."):
                given = given[key]
            assert given == value, f"{name}: params.yaml: {section} changed"


def test_the_readme_quotes_the_committed_numbers(blueprint: Path) -> None:
    """Every number in a README's table is what metrics.json or export.json say, as rounded."""
    numbers = objectives.measured(blueprint)
    quoted = re.findall(
        r"\| `([a-z_0-9.]+)` \|[^|]*\| ([0-9.]+) \|", (blueprint / "README.md").read_text()
    )
    assert len(quoted) >= 5
    for key, text in quoted:
        digits = len(text.partition(".")[2])
        assert f"{numbers[key]:.{digits}f}" == text, key


def commands(readme: Path) -> list[str]:
    """What a README tells its reader to type: indented and fenced lines and `make ...` in text."""
    text = re.sub(r"```mermaid.*?```", "", readme.read_text(), flags=re.DOTALL)
    indented = [line.partition("#")[0] for line in text.splitlines() if line.startswith("    ")]
    return [part.strip() for line in indented for part in line.split("&&")] + re.findall(
        r"`(make [^`]+)`", text
    )


@pytest.mark.parametrize(
    "readme", [ROOT / "README.md", *(path / "README.md" for path in BLUEPRINTS)], ids=str
)
def test_what_a_readme_tells_to_type_exists(readme: Path) -> None:
    targets = set(
        re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    targets = {name for line in targets for name in line.split()}
    told = commands(readme)
    assert len(told) >= 5
    for command in told:
        words = command.split()
        if words[:1] == ["make"]:
            assert set(re.findall(r"make ([a-z-]+)", command)) <= targets, command
        if words[:1] == ["python"] and words[1] != "-m":
            assert (readme.parent / words[1]).exists(), command
        if words[:3] == ["dvc", "exp", "run"]:
            sections = params.flatten(params.load_yaml(readme.parent / "params.yaml"))
            assert {word.split("=")[0] for word in words if "=" in word} <= set(sections), command


def test_python_is_one_that_is_declared() -> None:
    assert (3, 11) <= sys.version_info < (3, 14)
