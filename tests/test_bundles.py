"""A bundle is taken as it was signed, or refused with a reason."""

import json
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import updating
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared import bundles
from shared.audit import Refused
from shared.bundles import Manifest

ABOUT = {"name": "demo", "sequence": 3, "version": "v3"}
CONTENT = {"a.json": b"{}\n", "graph/model.onnx": bytes(range(256)) * 9, "z": b""}


class Signed:
    """A bundle of three files, and the keys."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "b.bundle"
        self.private, self.public = updating.keys(folder)
        self.manifest = self.write(CONTENT)
        self.bytes = self.path.read_bytes()

    def write(self, content: dict[str, bytes], **about: Any) -> Manifest:
        contents = {}
        for number, (name, data) in enumerate(content.items()):
            contents[name] = self.folder / str(number)
            contents[name].write_bytes(data)
        return bundles.write(self.path, contents, {**ABOUT, **about}, self.private)

    def refused(self, content: bytes) -> str:
        """Why these bytes are refused; nothing is unpacked if the signature is wrong."""
        path, place = self.folder / "bad", self.folder / "unpacked"
        path.write_bytes(content)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        with pytest.raises(Refused) as refused:
            bundles.read(path, [self.public], place)
        if "signed by" in str(refused.value):
            assert not any(place.iterdir())
        with pytest.raises(Refused, match=r"^refused: "):
            bundles.read(path, [self.public])
        return str(refused.value)

    def member(self, name: str) -> tarfile.TarInfo:
        with tarfile.open(self.path) as tar:
            return tar.getmember(name)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_what_was_signed_is_unpacked(signed: Signed, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    assert bundles.read(signed.path, [signed.public], place) == signed.manifest
    assert {name: (place / name).read_bytes() for name in CONTENT} == CONTENT
    assert bundles.intact(place)
    (place / "a.json").write_bytes(b"{]\n")
    assert not bundles.intact(place) and not bundles.intact(tmp_path)


def test_it_is_a_plain_tar_that_openssl_can_check(signed: Signed, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", signed.path, "-C", tmp_path], check=True)
    assert (tmp_path / "graph/model.onnx").read_bytes() == CONTENT["graph/model.onnx"]
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-inkey", str(signed.public)]
    files = ["-in", str(tmp_path / "manifest.json"), "-sigfile", str(tmp_path / "manifest.sig")]
    assert subprocess.run([*verify, *files], check=False).returncode == 0


def test_the_same_files_make_the_same_bundle(signed: Signed) -> None:
    signed.write(dict(reversed(CONTENT.items())))
    assert signed.path.read_bytes() == signed.bytes
    assert signed.write(CONTENT, sequence=4).folder != signed.manifest.folder


def test_another_key_is_refused_and_one_of_several_is_enough(signed: Signed) -> None:
    _, other = updating.keys(signed.folder, "other")
    with pytest.raises(Refused, match="not signed by a known key"):
        bundles.read(signed.path, [other])
    with pytest.raises(Refused, match="not signed by a known key"):
        bundles.read(signed.path, [])
    assert bundles.read(signed.path, [other, signed.public]) == signed.manifest


def test_a_flipped_byte_is_refused_wherever_it_is(signed: Signed) -> None:
    """Each file's header, content and padding, all of manifest and signature, the end."""
    random.seed(0)
    places = {*range(0, 2048, 7), *random.sample(range(len(signed.bytes)), 300)}
    for name in ("manifest.json", "manifest.sig", *CONTENT):
        member = signed.member(name)
        places |= {member.offset + 4, member.offset_data, member.offset_data + member.size - 1}
    for place in places | {len(signed.bytes) - 1}:
        content = bytearray(signed.bytes)
        content[place] ^= 0x10
        assert signed.refused(bytes(content)), place


def test_a_bundle_cut_off_anywhere_is_refused(signed: Signed) -> None:
    size = len(signed.bytes)
    for length in [0, 1, 511, 512, 513, size - 1, size - 512, size - 1024]:
        assert signed.refused(signed.bytes[:length])
    for twentieth in range(20):
        assert signed.refused(signed.bytes[: size * twentieth // 20])


def test_what_is_added_behind_the_end_is_refused(signed: Signed) -> None:
    for more in (b"\0", b"x", signed.bytes, b"\0" * 10240):
        assert "does not end" in signed.refused(signed.bytes + more)


def test_a_file_added_missing_or_exchanged_is_refused(signed: Signed) -> None:
    members = list(updating.entries(signed.path).items())

    def tar_of(entries: list[tuple[str, bytes]]) -> bytes:
        return updating.packed(dict(entries))

    assert tar_of(members) == signed.bytes
    assert "the place of a.json" in signed.refused(tar_of(members[:2] + members[3:]))
    assert "does not end" in signed.refused(tar_of([*members, ("more", b"x")]))
    swapped = [*members[:2], members[3], members[2], members[4]]
    assert "the place of a.json" in signed.refused(tar_of(swapped))
    assert "no manifest.sig in its place" in signed.refused(tar_of([members[0], *members[2:]]))


@pytest.mark.parametrize(
    ("name", "most"), [("manifest.json", bundles.MANIFEST_BYTES), ("manifest.sig", 64)]
)
def test_an_oversized_manifest_or_signature_is_not_even_read(
    signed: Signed, name: str, most: int
) -> None:
    member = signed.member(name)
    for size in (most + 1, 8 * 1024**3 - 1):
        content = bytearray(signed.bytes)
        content[member.offset : member.offset + 512] = bundles.header(name, size)
        assert f"{name} of the bundle has {size} bytes" in signed.refused(bytes(content))


BAD_NAMES = ["../a", "/a", "a/../../b", ".hidden", "a//b", "a\\b", "manifest.json", "a\n", ""]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_file_leaves_its_folder_though_it_was_signed(signed: Signed, name: str) -> None:
    signed.write({name: b"x"})
    assert "has no file of the name" in signed.refused(signed.path.read_bytes())


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown format": lambda about: about.update(format=2),
    "no sequence": lambda about: about.pop("sequence"),
    "unknown key": lambda about: about.update(more=1),
    "version as a path": lambda about: about.update(version="../../etc"),
    "negative size": lambda about: about["files"]["z"].update(size=-1),
    "no files": lambda about: about.update(files={}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_signed_manifest_of_another_shape_is_refused(signed: Signed, what: str) -> None:
    about = json.loads(signed.manifest.model_dump_json())
    CHANGES[what](about)
    raw = json.dumps(about).encode()
    key: Any = load_pem_private_key(signed.private.read_bytes(), None)
    parts = [("manifest.json", raw), ("manifest.sig", key.sign(raw))]
    content = b"".join(bundles.header(n, len(c)) + c + bundles.padding(len(c)) for n, c in parts)
    assert "manifest.json" in signed.refused(content)


def test_a_key_of_another_kind_is_named(signed: Signed) -> None:
    other = signed.folder / "ec.pem"
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*command, "-out", str(other)], check=True, capture_output=True)
    with pytest.raises(SystemExit, match=r"ec\.pem: not an Ed25519 key"):
        bundles.write(signed.path, {"a": signed.private}, ABOUT, other)
