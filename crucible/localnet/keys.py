"""Keys and addresses of the chain, made with `cryptography` and independent of the client's own signing."""

from __future__ import annotations

import hashlib

import bech32
from Crypto.Hash import RIPEMD160
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PREFIX = "allo"
VALIDATOR_PREFIX = "allovaloper"

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of the group of secp256k1


class Key:
    """A secp256k1 key that signs as cosmos does: sha256, deterministic, low s, 64 bytes."""

    def __init__(self, secret: int) -> None:
        self._private = ec.derive_private_key(secret, ec.SECP256K1())
        self.public = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.address = address_of(self.public)

    @classmethod
    def from_name(cls, name: str, seed: int) -> Key:
        """Return the key of house actor ``name``; play money only, equal names give equal keys."""
        digest = hashlib.sha256(f"localnet house actor {seed} {name}".encode()).digest()
        return cls(int.from_bytes(digest) % (_ORDER - 1) + 1)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of ``message``."""
        der = self._private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(der)
        return r.to_bytes(32) + min(s, _ORDER - s).to_bytes(32)


def address_of(public: bytes, prefix: str = PREFIX) -> str:
    """Return the bech32 address of a compressed public key (33 bytes)."""
    digest = RIPEMD160.new(hashlib.sha256(public).digest()).digest()
    return str(bech32.bech32_encode(prefix, bech32.convertbits(digest, 8, 5, True)))


def is_address(text: str) -> bool:
    """Return whether ``text`` is a bech32 address of this chain."""
    prefix, data = bech32.bech32_decode(text)
    return prefix == PREFIX and data is not None and len(data) == 32


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether ``signature`` (64 bytes, low s) is that of ``message`` under ``public``."""
    if len(signature) != 64 or len(public) != 33:
        return False
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    if not (0 < r < _ORDER and 0 < s <= _ORDER // 2):
        return False
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public)
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


GENESIS_VALIDATOR = address_of(Key.from_name("validator", 0).public, VALIDATOR_PREFIX)
"""Whom one can stake with on every localnet."""
