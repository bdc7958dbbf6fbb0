"""A signature over every file of a folder, in OpenSSF's model-signing format; made and checked without a network.

``model_signing verify key FOLDER --signature FOLDER/model.sig --public_key KEY`` of that project accepts it too.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from model_signing import hashing, manifest, signing, verifying

from seodang.base.errors import Conflict, InvalidInput
from seodang.distillation.folder import write_whole
from seodang.provenance.files import SIGNATURE, UNSIGNED, digest_differences
from seodang.provenance.keys import PublicKey, SigningKey


class BadSignature(Conflict):
    """A signature that does not hold."""

    default_reason = "BAD_SIGNATURE"


@dataclass(frozen=True)
class SignedFiles:
    """What a signature that holds covers, and how the folder differs from that."""

    files: int
    differences: tuple[str, ...]


def sign(folder: Path, key: SigningKey) -> None:
    """Signs the folder as it is. An earlier signature is replaced; ``UNSIGNED`` files are left out, and it says so.

    Raises:
        InvalidInput: the folder holds something other than files and folders.
    """
    covered = hashing.Config().set_ignored_paths(paths=UNSIGNED, ignore_git_paths=False)
    beside = folder / f".{SIGNATURE}.unsynced"
    beside.unlink(missing_ok=True)
    signer = signing.Config().set_hashing_config(covered).use_elliptic_key_signer(private_key=key.path)
    try:
        signer.sign(folder, beside)
    except ValueError as error:
        raise InvalidInput(f"{folder} cannot be signed: {error}") from error
    write_whole(folder / SIGNATURE, beside.read_bytes())
    beside.unlink()


def check_signature(folder: Path, public_key: Path) -> SignedFiles:
    """Checks the signature against a key, then each file against what was signed.

    Raises:
        BadSignature: it is none, is another key's, or was not made over what it says.
        InvalidInput: the public key is none.
    """
    trusted = PublicKey.read(public_key)
    signer, expected = _claims(folder / SIGNATURE)
    if signer != trusted.fingerprint:
        raise BadSignature(f"{SIGNATURE} is by key {signer[:16]}, not by {trusted.fingerprint[:16]} ({public_key})")
    hashed = _Hashed()
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key).set_hashing_config(hashed)
    try:
        verifier.verify(folder, folder / SIGNATURE)
    # A forged file can make the library stumble in several ways, and none of them may pass for a signature.
    except (InvalidSignature, ValueError, LookupError, TypeError, AttributeError) as error:
        if not hashed.reached:
            what = str(error) or "it was made over something else"
            raise BadSignature(f"{SIGNATURE} does not hold for key {trusted.fingerprint[:16]}: {what}") from error
        if hashed.manifest is None:
            raise BadSignature(f"the files cannot be hashed: {error}") from error
    assert hashed.manifest is not None, "a folder that was verified was hashed"
    return SignedFiles(len(expected), tuple(_differences(folder, expected, hashed.manifest)))


class _Hashed(hashing.Config):
    """Keeps what the library hashes. It comes to that only once the signature itself holds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library's own lacks annotations
        self.set_ignored_paths(paths=UNSIGNED, ignore_git_paths=False)
        self.reached = False
        self.manifest: manifest.Manifest | None = None

    def hash(
        self, model_path: hashing.PathLike, *, files_to_hash: Iterable[hashing.PathLike] | None = None
    ) -> manifest.Manifest:
        """Hashes and remembers."""
        self.reached = True
        self.manifest = super().hash(model_path, files_to_hash=files_to_hash)
        return self.manifest


def _differences(folder: Path, expected: dict[str, str], hashed: manifest.Manifest) -> list[str]:
    actual = {each.identifier: each.digest.digest_hex for each in hashed.resource_descriptors()}
    # A signer may have told the library to look away from more than we do; every other file must be covered.
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    overlooked = dict.fromkeys(there - actual.keys() - set(UNSIGNED), "not signed")
    return digest_differences(expected, actual | overlooked)


def _claims(path: Path) -> tuple[str, dict[str, str]]:
    """Whose signature it says it is, and the digest of each file that it says it is over. Nothing is checked yet."""
    try:
        bundle: dict[str, Any] = json.loads(path.read_bytes())
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        resources = {each["name"]: each["digest"] for each in statement["predicate"]["resources"]}
        return bundle["verificationMaterial"]["publicKey"]["hint"], resources
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BadSignature(f"{path} is no signature of a model ({type(error).__name__}: {error})") from error
