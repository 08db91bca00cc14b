"""Archives of volumes: whole or refused. Real volumes are in test_standalone.py."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from shared import volumes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("live", "logs"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    return tmp_path / "volumes"


def packed(root: Path, name: str = "demo") -> bytes:
    output = io.BytesIO()
    volumes.pack(root, name, output)
    return output.getvalue()


def test_what_is_restored_is_what_was_and_nothing_else(root: Path) -> None:
    (root / "live/models/m1").mkdir(parents=True)
    (root / "live/models/m1/model.json").write_text("3.25")
    (root / "live/secret").write_text("x")
    (root / "live/secret").chmod(0o600)
    (root / "live/current").symlink_to("models/m1")
    os.link(root / "live/secret", root / "live/again")
    kept = packed(root)
    (root / "live/models/m1/model.json").write_text("9")
    (root / "live/new").write_text("after the backup")
    (root / "logs/requests.jsonl").write_text("{}")
    volumes.unpack(root, "demo", io.BytesIO(kept))
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    names = ["again", "current", "models", "models/m1", "models/m1/model.json", "secret"]
    assert found == ["live", *(f"live/{name}" for name in names), "logs"]
    assert (root / "live/current/model.json").read_text() == "3.25"
    assert (root / "live/secret").stat().st_mode & 0o777 == 0o600
    assert (root / "live/again").samefile(root / "live/secret")


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_an_archive_that_is_cut_off_changes_nothing(root: Path, share: float) -> None:
    (root / "live/big").write_bytes(os.urandom(300_000))
    kept = packed(root)
    (root / "live/big").write_text("present")
    with pytest.raises(SystemExit, match="restore: "):
        volumes.unpack(root, "demo", io.BytesIO(kept[: int(len(kept) * share)]))
    assert [path.name for path in (root / "live").iterdir()] == ["big"]
    assert (root / "live/big").read_text() == "present"


@pytest.mark.parametrize("kept", [1, 2, 5, 9, -1])
def test_an_archive_that_ends_between_two_entries_changes_nothing(root: Path, kept: int) -> None:
    """Such a stream is a whole tar to Python, and may be a whole gzip."""
    for number in range(8):
        (root / f"live/{number}").mkdir()
    whole, cut = io.BytesIO(packed(root)), io.BytesIO()
    with (
        tarfile.open(fileobj=whole, mode="r:gz") as archive,
        tarfile.open(fileobj=cut, mode="w:gz") as shorter,
    ):
        for entry in archive.getmembers()[:kept]:
            shorter.addfile(entry, archive.extractfile(entry) if entry.isfile() else None)
    with pytest.raises(SystemExit, match="restore: no whole backup: it ends early"):
        volumes.unpack(root, "demo", io.BytesIO(cut.getvalue()))
    assert len(list((root / "live").iterdir())) == 8 and (root / "logs").is_dir()


def test_one_wrong_bit_changes_nothing(root: Path) -> None:
    (root / "live/big").write_bytes(bytes(100_000))
    kept = bytearray(packed(root))
    kept[-6] ^= 1  # of the checksum
    with pytest.raises(SystemExit, match="restore: no whole backup: CRC check failed"):
        volumes.unpack(root, "demo", io.BytesIO(kept))
    assert [path.name for path in (root / "live").iterdir()] == ["big"]


def test_what_a_killed_restore_left_is_neither_kept_nor_restored(root: Path) -> None:
    (root / "live/good").write_text("1")
    (root / "live" / volumes.DRAFT).mkdir()
    (root / "live" / volumes.DRAFT / "other").write_text("2")
    kept = packed(root)
    volumes.unpack(root, "demo", io.BytesIO(kept))
    assert [path.name for path in (root / "live").iterdir()] == ["good"]


def test_another_stacks_archive_is_refused(root: Path) -> None:
    kept = packed(root, "other")
    with pytest.raises(SystemExit, match=r"it is of other, .*; wanted: of demo"):
        volumes.unpack(root, "demo", io.BytesIO(kept))
    (root / "more").mkdir()
    with pytest.raises(SystemExit, match=r"wanted: of other, volumes \['live', 'logs', 'more'\]"):
        volumes.unpack(root, "other", io.BytesIO(kept))


@pytest.mark.parametrize("way", ["above", "link"])
def test_an_archive_cannot_write_beside_the_volumes(root: Path, way: str) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as archive:
        source = io.BytesIO(packed(root))
        with tarfile.open(fileobj=source, mode="r:gz") as good:
            first = good.getmember(volumes.MANIFEST)
            archive.addfile(first, good.extractfile(first))
        if way == "above":
            archive.addfile(tarfile.TarInfo("live/../../evil"), io.BytesIO())
        else:
            link = tarfile.TarInfo("live/out")
            link.type, link.linkname = tarfile.SYMTYPE, str(root.parent)
            archive.addfile(link)
            archive.addfile(tarfile.TarInfo("live/out/evil"), io.BytesIO())
    with pytest.raises(SystemExit, match=r"restore: no whole backup: live/.* leads out"):
        volumes.unpack(root, "demo", io.BytesIO(output.getvalue()))
    assert not list(root.parent.rglob("evil"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["backup"], "backup: name the file"),
        (["restore"], "restore: name the file"),
        (["restore", "none.tar.gz"], "restore: there is no file none.tar.gz"),
    ],
)
def test_a_file_is_named_and_there(
    monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.setattr("sys.argv", ["volumes", *words])
    with pytest.raises(SystemExit, match=told):
        volumes.main()
