"""A stack of containers by the files of `deploying`: docker compose, as it is found or Debian's."""

import functools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared import engine

ENVIRONMENT = ".env"
QUOTED = re.compile(r"""^(["'])(.*)\1$""")
SECRETS = ("SERVICE_TOKEN", "ACTIONS_TOKEN", "GRAFANA_PASSWORD")
OWN = (*SECRETS, "COMPOSE_PROJECT_NAME")


@functools.cache
def tool() -> tuple[str, ...]:
    """The command: docker's plugin, or docker-compose 1.29 or later, which is installed if needed.

    Raises SystemExit where there is neither and none can be installed.
    """
    engine.start()
    if engine.works("compose", "version"):
        return (engine.client(), "compose")
    if not shutil.which("docker-compose"):
        engine.install("docker-compose")
    return (str(shutil.which("docker-compose")),)


def environment(folder: Path) -> dict[str, str]:
    """The settings in .env beside compose.yaml; quotes around a value are not part of it."""
    lines = (folder / ENVIRONMENT).read_text(encoding="utf-8").splitlines()
    own = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return {name.strip(): QUOTED.sub(r"\2", value.strip()) for name, _, value in own}


class Stack:
    """The stack of the compose.yaml in `folder`; `variables` come before those of its .env.

    more: names of further files there, e.g. of an override.
    """

    def __init__(self, folder: Path, *more: str, **variables: str) -> None:
        if not (folder / "compose.yaml").exists():
            raise SystemExit(
                f"{folder} has no compose.yaml; run: make deploy-files TARGET=standalone"
            )
        self.folder, self.variables = folder, variables
        self.files = [word for name in ("compose.yaml", *more) for word in ("-f", name)]

    @property
    def command(self) -> str:
        return f"cd {self.folder} && docker compose"

    @property
    def settings(self) -> dict[str, str]:
        """Of .env, and `variables`."""
        return environment(self.folder) | self.variables

    def run(self, *arguments: str, **options: Any) -> str:
        """Standard output of a compose command. Raises SystemExit when it fails.

        A token or a project's name that this process has of another service is not the stack's.
        """
        options = {"stdout": subprocess.PIPE} | options
        others = {name: value for name, value in os.environ.items() if name not in OWN}
        done: Any = subprocess.run(
            [*tool(), *self.files, *arguments],
            cwd=self.folder,
            env=others | self.variables,
            check=False,
            **options,
        )
        if done.returncode:
            raise SystemExit(f"compose {' '.join(arguments)}: exit code {done.returncode}")
        return str(done.stdout or b"", "utf-8").strip()

    def containers(self) -> dict[str, Any]:
        """Service -> `docker inspect` of its container, of all that were started."""
        label = f"label=com.docker.compose.project={self.settings['COMPOSE_PROJECT_NAME']}"
        found = engine.docker("ps", "--all", "--quiet", "--filter", label).split()
        known = json.loads(engine.docker("inspect", *found)) if found else []
        named = [(one["Config"]["Labels"]["com.docker.compose.service"], one) for one in known]
        return dict(sorted(named))

    def states(self, state: str) -> list[str]:
        """The services whose container is e.g. Running or Paused (a paused one is also Running)."""
        return [name for name, one in self.containers().items() if one["State"][state]]

    def identity(self, service: str) -> str:
        """The id of a service's container. Raises SystemExit where it has none."""
        if service not in (found := self.containers()):
            raise SystemExit(f"{service} was not started; run: {self.command} up -d")
        return str(found[service]["Id"])

    def wait(self, seconds: float) -> float:
        """Until all are healthy and `bootstrap` has ended well; gives how many seconds it took.

        Raises SystemExit with the end of the log of who does not.
        """
        begin = time.monotonic()
        while ill := [name for name, one in self.containers().items() if not well(one["State"])]:
            if time.monotonic() > begin + seconds:
                told = self.run("logs", "--tail", "30", "--no-color", ill[0])
                raise SystemExit(f"{', '.join(ill)}: not well after {seconds:g} s:\n{told}")
            time.sleep(1)
        return time.monotonic() - begin


def well(state: Mapping[str, Any]) -> bool:
    """Is a container healthy, or has it done what it had to do once?"""
    if state["Status"] == "exited":
        return bool(state["ExitCode"] == 0)
    return bool(state.get("Health", {}).get("Status", "healthy") == "healthy" and state["Running"])
