"""A model on its way to a device: a plain tar of its files behind a signed list of their hashes.

    manifest.json   name, sequence, version, size and SHA-256 of every file
    manifest.sig    Ed25519 (RFC 8032) over the bytes of manifest.json
    ...             the files, in the order of the manifest

A bundle is byte for byte what `write` would make of its manifest. So nothing in it is unsigned, no
header of tar is believed, and what is longer, shorter or otherwise different is refused.
"""

import hashlib
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from pydantic import Field, ValidationError

from shared import params
from shared.audit import Refused

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
MANIFEST_BYTES, SIGNATURE_BYTES, CHUNK = 1_000_000, 64, 1 << 20
PLAIN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)


class Entry(params.Params):
    """What a file of a bundle must be."""

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(params.Params):
    """What is signed; of two bundles of one name the one with the higher sequence is newer."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    sequence: int = Field(ge=1)
    version: str = Field(pattern=r"^\w[\w.-]{0,80}$")
    files: dict[str, Entry] = Field(min_length=1)

    @property
    def folder(self) -> str:
        """The name of its folder under live/models/; another content has another name."""
        return f"{self.version}-{self.digest[:8]}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def write(
    bundle: Path, contents: Mapping[str, Path], about: Mapping[str, object], key: Path
) -> Manifest:
    """Write a bundle whole or not at all.

    contents: its files by their names in it; about: the manifest's name, sequence and version.
    key: an Ed25519 private key in PEM, without a password.
    """
    entries = {name: _entry(contents[name]) for name in sorted(contents)}
    manifest = Manifest.model_validate({**about, "files": entries})
    raw = manifest.model_dump_json().encode()
    with params.atomic(bundle) as draft, draft.open("wb") as file:
        for name, content in ((MANIFEST, raw), (SIGNATURE, signature(raw, key))):
            file.write(header(name, len(content)) + content + padding(len(content)))
        for name, entry in manifest.files.items():
            file.write(header(name, entry.size) + contents[name].read_bytes())
            file.write(padding(entry.size))
        file.write(_end(file.tell()))
    return manifest


def signature(content: bytes, key: Path) -> bytes:
    """Of anything, by an Ed25519 private key in PEM, without a password; SystemExit for another."""
    private = load_pem_private_key(key.read_bytes(), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise SystemExit(f"{key}: not an Ed25519 key")
    return private.sign(content)


def read(bundle: Path, keys: Sequence[Path], into: Path | None = None) -> Manifest:
    """Check all of a bundle, its signature by one of the public keys first; gives its manifest.

    into: an existing folder for its files; they are checked while they are written.
    Raises Refused with the reason.
    """
    with bundle.open("rb") as file:
        raw = _small(file, MANIFEST, MANIFEST_BYTES)
        _check_signature(raw, _small(file, SIGNATURE, SIGNATURE_BYTES), keys)
        manifest = _parsed(raw)
        for name, entry in manifest.files.items():
            if _exactly(file, tarfile.BLOCKSIZE) != header(name, entry.size):
                raise Refused(f"the bundle has something else in the place of {name}")
            _copy(file, name, entry, into)
        position = file.tell()
        if file.read(CHUNK) != _end(position):
            raise Refused("the bundle does not end behind its last file")
    if into is not None:
        (into / MANIFEST).write_bytes(raw)
    return manifest


def intact(folder: Path) -> bool:
    """Has an unpacked model every file that its manifest names, unchanged?"""
    try:
        files = _parsed((folder / MANIFEST).read_bytes()).files
        return all(_entry(folder / name) == entry for name, entry in files.items())
    except (OSError, Refused):
        return False


def header(name: str, size: int) -> bytes:
    """A file's block in a tar: no owner, no time."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def padding(size: int) -> bytes:
    return b"\0" * (-size % tarfile.BLOCKSIZE)


def _end(position: int) -> bytes:
    """What fills a tar's last record after this many bytes."""
    return b"\0" * (
        2 * tarfile.BLOCKSIZE + -(position + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE
    )


def _entry(path: Path) -> Entry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Entry(size=file.tell(), sha256=digest)


def _exactly(file: BinaryIO, size: int) -> bytes:
    if len(found := file.read(size)) < size:
        raise Refused("the bundle is cut off")
    return found


def _small(file: BinaryIO, name: str, most: int) -> bytes:
    """The content of the next file, which must be `name` and no larger than `most` bytes."""
    block = _exactly(file, tarfile.BLOCKSIZE)
    try:
        size = tarfile.TarInfo.frombuf(block, "ascii", "strict").size
    except (tarfile.TarError, UnicodeDecodeError):
        raise Refused("not a bundle") from None
    if not 0 <= size <= most:
        raise Refused(f"{name} of the bundle has {size} bytes, at most {most} are read")
    if block != header(name, size):
        raise Refused(f"the bundle has no {name} in its place")
    content = _exactly(file, size)
    if _exactly(file, len(padding(size))).strip(b"\0"):
        raise Refused(f"the bundle has something behind {name}")
    return content


def _check_signature(raw: bytes, signature: bytes, keys: Sequence[Path]) -> None:
    for path in keys:
        public = load_pem_public_key(path.read_bytes())
        if not isinstance(public, Ed25519PublicKey):
            raise SystemExit(f"{path}: not an Ed25519 key")
        try:
            return public.verify(signature, raw)
        except InvalidSignature:
            continue
    raise Refused("the bundle is not signed by a known key")


def _parsed(raw: bytes) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise Refused("; ".join(params.explain(error, MANIFEST))) from None
    for name in manifest.files:
        if not PLAIN.fullmatch(name) or name in (MANIFEST, SIGNATURE):
            raise Refused(f"a bundle has no file of the name {name!r:.80}")
    return manifest


def _copy(file: BinaryIO, name: str, entry: Entry, into: Path | None) -> None:
    """Check the next file, and write it where `into` says."""
    digest, left = hashlib.sha256(), entry.size
    goal = Path("/dev/null") if into is None else into / name
    goal.parent.mkdir(parents=True, exist_ok=True)
    with goal.open("wb") as copy:
        while left:
            chunk = _exactly(file, min(left, CHUNK))
            digest.update(chunk)
            copy.write(chunk)
            left -= len(chunk)
    behind = _exactly(file, len(padding(entry.size)))
    if digest.hexdigest() != entry.sha256 or behind.strip(b"\0"):
        raise Refused(f"{name} of the bundle is not what was signed")
