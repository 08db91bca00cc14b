"""What ships has a licence that may be shipped; others are found."""

import sys
from pathlib import Path

import pytest

from shared import licences

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path for path in (ROOT / "blueprints").iterdir() if path.is_dir())


@pytest.mark.contract
def test_all_that_images_ship_may_be_shipped() -> None:
    assert licences.check(FOLDERS) > 50


@pytest.mark.contract
def test_the_page_has_every_package_with_its_licence() -> None:
    """Which are needed differs by a few between versions of Python; licences do not."""
    page = (ROOT / "docs/licences.md").read_text()
    for pin in licences.shipped(FOLDERS):
        name, version = pin.split("==")
        assert f"| {name} | {version} | {licences.licence(name)} |" in page, "run: make licences"
    if sys.version_info[:2] == (3, 11):  # it was made with this one
        assert page == licences.table(FOLDERS), "run: make licences"


@pytest.mark.parametrize(
    "expression", ["MIT", "MPL-2.0 AND (Apache-2.0 OR MIT)", "MIT OR GPL-2.0-only", "BSD"]
)
def test_what_asks_for_little_is_allowed(expression: str) -> None:
    assert licences.allowed(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "GPL-3.0-only",
        "MIT AND LGPL-2.1-or-later",
        "AGPL-3.0-only OR SSPL-1.0",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "GNU General Public License v3 (GPLv3)",
        "Other/Proprietary License",
        "unknown",
    ],
)
def test_what_asks_for_more_or_says_nothing_is_refused(expression: str) -> None:
    assert not licences.allowed(expression)


def test_a_refused_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any would be, had it another licence than those on the list."""
    for name in ("serve", "edge"):
        (tmp_path / f"requirements-{name}.txt").write_text("idna\n")
    assert licences.check([tmp_path]) == 1
    monkeypatch.setattr(licences, "ALLOWED", licences.ALLOWED - {"BSD-3-Clause"})
    with pytest.raises(SystemExit, match=r"idna==\S+ \(BSD-3-Clause\)"):
        licences.check([tmp_path])


def test_a_package_without_a_statement_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "silent-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: silent\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert licences.licence("silent") == "unknown"
