"""A container engine and base images: those that are there, or made here where none can be had.

Docker is used as it is found. Where there is none, and this process is root and has apt-get,
Debian's is installed and started. Where no registry can be reached, a base image is made of
Debian's packages; no image built on it may be published.
"""

import contextlib
import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parent / "deploy"
BASE = "python:3.11-slim"
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
PACKAGES = ["docker.io", "iptables"]
BASE_PACKAGES = ["mmdebstrap", "arch-test"]
EMULATION = ["qemu-user-static", "binfmt-support"]
STARTS_S = 60.0
BINFMT = Path("/proc/sys/fs/binfmt_misc")


def docker(*arguments: str, quiet: bool = False, **options: Any) -> str:
    """Standard output of a docker command, without the newline at its end.

    quiet: its standard error is shown only when it fails. Other `options` go to subprocess.run.
    Raises SystemExit with the command when it fails.
    """
    error = subprocess.PIPE if quiet else None
    options = {"stdout": subprocess.PIPE, "stderr": error, "text": True} | options
    environment = os.environ | {"DOCKER_BUILDKIT": "1"}
    done = subprocess.run([client(), *arguments], env=environment, check=False, **options)
    if done.returncode:
        sys.stderr.write(done.stderr or "")
        raise SystemExit(f"docker {' '.join(arguments)[:200]}: exit code {done.returncode}")
    return str(done.stdout or "").strip()


def works(*arguments: str) -> bool:
    """Does the docker command succeed?"""
    command = [client(), *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@functools.cache
def client() -> str:
    """The first docker in PATH that can build: with BuildKit in it (before 23) or as a plugin."""
    folders = os.get_exec_path()
    found = [path for folder in folders if (path := shutil.which("docker", path=folder))]
    for path in found:
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        number = version.stdout.removeprefix("Docker version ").partition(".")[0]
        plugin = subprocess.run([path, "buildx", "version"], capture_output=True, check=False)
        if plugin.returncode == 0 or (number.isdigit() and int(number) < 23):
            return path
    raise SystemExit(f"no docker that can build (tried: {', '.join(found) or 'none in PATH'})")


def native() -> str:
    """The platform of this machine, e.g. linux/amd64. Raises SystemExit for one without images."""
    machine = platform.machine().lower()
    if machine not in MACHINES:
        known = ", ".join(sorted(MACHINES))
        raise SystemExit(f"this machine is {machine!r}; images are made on, and for, {known}")
    return f"linux/{MACHINES[machine]}"


def folder() -> Path:
    """Where what is made here lies; keep it, and the next run is quicker."""
    return Path(os.environ.get("ENGINE_FOLDER", "/var/lib/blueprints"))


def start() -> None:
    """Returns when an engine answers. Raises SystemExit where there is none and none can be made.

    One that is started here stays; its process id is in the file that is named.
    """
    if shutil.which("docker") and works("info"):
        return
    if os.geteuid() != 0:
        raise SystemExit("no container engine answers; start one, or run this as root")
    if not shutil.which("dockerd"):
        install(*PACKAGES)
        client.cache_clear()
    with making():
        if not works("info"):
            _serve()


@contextlib.contextmanager
def making() -> Iterator[None]:
    """One process at a time makes something in `folder`; the others find it made."""
    from filelock import FileLock  # which devices, that import this module, do not have

    folder().mkdir(parents=True, exist_ok=True)
    with FileLock(folder() / "lock", is_singleton=True):  # which may be taken twice
        yield


def _serve() -> None:
    """Start an engine of our own."""
    identity, log = folder() / "dockerd.pid", folder() / "dockerd.log"
    command = ["dockerd", "--data-root", str(folder() / "docker"), "--pidfile", str(identity)]
    with log.open("w") as output:
        subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    deadline = time.monotonic() + STARTS_S
    while not works("info"):
        if time.monotonic() > deadline:
            raise SystemExit(f"dockerd does not answer:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)
    print(f"engine: started; to stop it: kill $(cat {identity})", file=sys.stderr)


def install(*packages: str) -> None:
    """By apt-get, as root. Raises SystemExit where that cannot be."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"install {', '.join(packages)}: there is no apt-get, or this is not root")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
    with making():
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
        subprocess.run(command, env=quiet, check=True, stdout=subprocess.DEVNULL)


def base_image(wanted: str) -> str:
    """The name of a base image for a platform, e.g. linux/arm64: pulled, or made here.

    A tag holds one platform, so that of a foreign one made here has its architecture in its name.
    Where the Dockerfiles say a digest, nothing else of that tag is taken but what was made here.
    """
    architecture, usual = wanted.partition("/")[2], reference()
    made = BASE if wanted == native() else f"{BASE}-{architecture}"
    named = [usual] if "@" in usual else [made, BASE]
    if found := _there(named, wanted):
        return found
    if works("pull", "--quiet", "--platform", wanted, usual):
        return usual
    if found := _there([made], wanted):
        return found
    print(f"engine: {BASE} cannot be pulled; it is made of Debian's packages", file=sys.stderr)
    emulate(wanted)
    with making():
        place = folder() / f"base-{architecture}"
        if not (place / "rootfs.tar").exists():
            if not all(shutil.which(name) for name in ("mmdebstrap", "arch-test")):
                install(*BASE_PACKAGES)
            subprocess.run([DEPLOY / "base.sh", architecture, place], check=True)
        file = ["--file", str(DEPLOY / "Dockerfile.base")]
        docker("build", "--quiet", "--platform", wanted, "--tag", made, *file, str(place))
    return made


def reference() -> str:
    """BASE as the Dockerfiles name it, which may pin it: python:3.11-slim@sha256:..."""
    text = (DEPLOY / "Dockerfile.cloud").read_text(encoding="utf-8")
    return str(re.findall(r"^ARG BASE_IMAGE=(\S+)$", text, re.MULTILINE)[0])


def _there(names: list[str], wanted: str) -> str | None:
    """The first of these images that is here, for this platform."""
    for name in names:
        architecture = ("image", "inspect", "--format", "{{.Architecture}}", name)
        if works("image", "inspect", name) and wanted.endswith(docker(*architecture)):
            return name
    return None


def emulate(wanted: str) -> None:
    """Let this machine run programs of another platform; nothing where it can."""
    if wanted == native() or (BINFMT / f"qemu-{QEMU[wanted]}").exists():
        return
    if not shutil.which("update-binfmts"):
        install(*EMULATION)
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
    subprocess.run(["update-binfmts", "--enable", f"qemu-{QEMU[wanted]}"], check=True)


QEMU = {"linux/arm64": "aarch64", "linux/amd64": "x86_64"}
