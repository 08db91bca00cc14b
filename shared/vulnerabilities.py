"""Known vulnerabilities of all that images install; it needs the network, and says so without.

    python -m shared.vulnerabilities                shared/deploy/hashes.txt, by OSV's database
    python -m shared.vulnerabilities requirements.txt --osv-url https://...

pip-audit alone says "No known vulnerabilities found" of packages that it could not look up. So a
version that is known to be vulnerable is asked about first, and nothing may be left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared import hashes

URL = "https://api.osv.dev/v1/query"
# CVE-2019-10906 and more: a database that knows nothing of it knows nothing.
CANARY = "jinja2==2.10"


def asked(pins: Iterable[str], url: str) -> dict[str, Any]:
    """pip-audit's report on exact versions. Raises SystemExit where it has none."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--format", "json"]
    command += ["--vulnerability-service", "osv", "--osv-url", url, "--progress-spinner", "off"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("\n".join(pins), encoding="utf-8")
        command += ["--requirement", str(file), "--cache-dir", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        raise SystemExit(f"nothing was scanned: {url} gave no answer ({last})") from None


def found(report: dict[str, Any], pins: list[str]) -> list[str]:
    """A line for each vulnerability. Raises SystemExit where a package was left out."""
    looked = {
        f"{one['name']}=={one['version']}": one["vulns"]
        for one in report["dependencies"]
        if "vulns" in one
    }
    left = [pin for pin in pins if pin not in looked]
    if left or not pins:
        raise SystemExit(f"not scanned: {', '.join(left) or 'anything'}; so this is no result")
    return [
        f"{pin}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'no version'}"
        for pin in pins
        for one in looked[pin]
    ]


def scan(pins: list[str], url: str = URL) -> list[str]:
    """The vulnerabilities of exact versions, after a proof that the database knows any."""
    if not found(asked([CANARY], url), [CANARY]):
        raise SystemExit(f"nothing was scanned: {url} does not know that {CANARY} is vulnerable")
    return found(asked(pins, url), pins)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("requirements", type=Path, nargs="?", default=hashes.FILE)
    options.add_argument("--osv-url", default=URL)
    told = options.parse_args()
    pins = list(hashes.known(told.requirements))
    lines = scan(pins, told.osv_url)
    print("\n".join([*lines, f"{len(pins)} packages scanned, {len(lines)} vulnerabilities"]))
    if lines:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
