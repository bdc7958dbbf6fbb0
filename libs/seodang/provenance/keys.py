"""The key that students are signed with: on an elliptic curve, in a file of its own, made when there is none."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from seodang.base.errors import InvalidInput
from seodang.distillation.folder import sync_folder

CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
"""Those that the signature's format knows."""


@dataclass(frozen=True)
class PublicKey:
    """Whom a signature is from."""

    pem: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the PEM text: what ``sha256sum signer.pem`` prints, and what a signature names its key by."""
        return hashlib.sha256(self.pem).hexdigest()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a PEM file.

        Raises:
            InvalidInput: there is none, or it holds no public key on one of ``CURVES``.
        """
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise InvalidInput(f"{path} is no public key in PEM ({error})", field="key") from error
        return cls(_public_pem(_on_known_curve(key, path)))


@dataclass(frozen=True)
class SigningKey:
    """A private key in a file, and its public half. The private half is never held here."""

    path: Path
    public: PublicKey

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads an unencrypted PEM file.

        Raises:
            InvalidInput: there is none, or it holds no private key on one of ``CURVES``.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InvalidInput(
                f"{path} is no unencrypted private key in PEM ({error}): make one with "
                "'openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem'",
                field="key",
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise _wrong_kind(path)
        return cls(path, PublicKey(_public_pem(_on_known_curve(key.public_key(), path))))

    @classmethod
    def open_or_make(cls, path: Path) -> Self:
        """The key in ``path``, made now if there is none: for the owner's eyes only, whole and durable."""
        if not path.exists():
            _write_private(path, ec.generate_private_key(ec.SECP256R1()))
        return cls.open(path)


def _on_known_curve(key: object, path: Path) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise _wrong_kind(path)
    return key


def _wrong_kind(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} holds another kind of key: use one on {', '.join(CURVES)}", field="key")


def _public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)
