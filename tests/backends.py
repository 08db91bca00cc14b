"""A real PostgreSQL and a real object store on loopback, empty, for the length of a test."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shared import benchmark, engine

ROOT = Path(__file__).parent.parent
BIN = ROOT / ".venv-storage/bin"  # make storage
KEYS = {"AWS_ACCESS_KEY_ID": "blueprints", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
KEYS |= {"AWS_DEFAULT_REGION": "us-east-1"}
RIGHTS = ["Admin", "Read", "Write", "List", "Tagging"]
# Both are told the store's address and a bucket.
READY = """
import boto3, sys
client = boto3.client("s3", endpoint_url=sys.argv[1])
client.create_bucket(Bucket=sys.argv[2])
client.put_object(Bucket=sys.argv[2], Key="ready", Body=b"")  # a volume can be written
client.delete_object(Bucket=sys.argv[2], Key="ready")
"""
SIZES = """
import boto3, json, sys
found = boto3.client("s3", endpoint_url=sys.argv[1]).list_objects_v2(Bucket=sys.argv[2])
print(json.dumps({one["Key"]: one["Size"] for one in found.get("Contents", [])}))
"""


def storage() -> Path:
    """The programs of requirements-storage.lock, installed as users do it."""
    subprocess.run(["make", "storage"], cwd=ROOT, check=True)
    return BIN


def tool(name: str) -> str:
    """A program of PostgreSQL, which Debian keeps out of PATH; installed where it is missing."""
    if not (found := sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))):
        engine.install("postgresql")
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1])


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database with a password."""
    port, password = benchmark.free_port(), "not-a-secret"
    own: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    program = tool("initdb")
    with tempfile.TemporaryDirectory() as temporary:  # others may enter it, unlike pytest's
        place = Path(temporary)
        place.chmod(0o755)
        (place / "password").write_text(password)
        for path in (place, place / "password"):
            if own:
                shutil.chown(path, *own.values())
        secret = [f"--pwfile={place / 'password'}", "--auth=scram-sha-256", "--username=mlflow"]
        made = [program, "--no-sync", "-D", str(place / "data"), *secret]
        subprocess.run(made, check=True, capture_output=True, cwd=place, **own)
        options = ["-D", str(place / "data"), "-p", str(port), "-k", str(place), "-h", "127.0.0.1"]
        with subprocess.Popen(
            [tool("postgres"), *options], cwd=place, stderr=subprocess.DEVNULL, **own
        ) as server:
            ready = [tool("pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
            try:
                until(lambda: subprocess.run(ready, check=False).returncode == 0)
                yield f"postgresql://mlflow:{password}@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # does not wait for its clients


def rows(database: str, query: str) -> list[list[str]]:
    command = [tool("psql"), database, "--no-align", "--tuples-only", "--command", query]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")
    return [line.split("|") for line in done.stdout.splitlines()]


@contextlib.contextmanager
def objects(folder: Path, *buckets: str) -> Iterator[str]:
    """The address of SeaweedFS with these buckets; it asks for KEYS."""
    key = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    known = [{"name": "blueprints", "credentials": [key], "actions": RIGHTS}]
    (folder / "s3.json").write_text(json.dumps({"identities": known}))
    parts = ("master", "volume", "filer", "s3")
    ports = {name: benchmark.free_port() for name in [*parts, *(f"{one}.grpc" for one in parts)]}
    command = [str(BIN / "weed"), "server", "-s3", f"-dir={folder}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder / 's3.json'}"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=20"]
    for name in parts:
        command += [f"-{name}.port={ports[name]}", f"-{name}.port.grpc={ports[f'{name}.grpc']}"]
    url = f"http://127.0.0.1:{ports['s3']}"
    with (
        (folder / "weed.log").open("w") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as server,
    ):
        try:
            for bucket in buckets:
                until(lambda bucket=bucket: not asked(READY, url, bucket).returncode)
            yield url
        finally:
            server.kill()


def asked(script: str, *arguments: str, **keys: str) -> subprocess.CompletedProcess[str]:
    """A script of the environment for storage, with KEYS or others."""
    command = [str(BIN / "python"), "-c", script, *arguments]
    environment = os.environ | KEYS | keys
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def sizes(url: str, bucket: str) -> dict[str, int]:
    """Key -> bytes of each object."""
    return dict(json.loads(asked(SIZES, url, bucket).stdout))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
