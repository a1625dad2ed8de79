"""An authenticator of Web Authentication in software: makes passkeys, and answers with them as a browser would."""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

_PRESENT, _VERIFIED, _WITH_CREDENTIAL = 0x01, 0x04, 0x40

Key = EllipticCurvePrivateKey | Ed25519PrivateKey


@dataclass(slots=True)
class Authenticator:
    """One with a passkey at most; what it says of itself can be set."""

    origin: str
    key: Key = field(default_factory=lambda: generate_private_key(SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    count: int = 0
    verifies: bool = True
    user_handle: str | None = None

    def make(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Make the passkey that is asked for."""
        self.user_handle = options["user"]["id"]
        identified = bytes(16) + len(self.credential_id).to_bytes(2) + self.credential_id
        data = self._data(options["rp"]["id"], _WITH_CREDENTIAL) + identified + cbor2.dumps(_cose(self.key))
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        said = self._client_data("webauthn.create", options)
        return self._credential(
            clientDataJSON=encoded(said), attestationObject=encoded(attestation), transports=["usb"]
        )

    def answer(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Answer by the passkey."""
        self.count += 1
        data, said = self._data(options["rpId"], 0), self._client_data("webauthn.get", options)
        signed = data + hashlib.sha256(said).digest()
        made = (
            self.key.sign(signed)
            if isinstance(self.key, Ed25519PrivateKey)
            else self.key.sign(signed, signature_algorithm=ECDSA(SHA256()))
        )
        return self._credential(
            clientDataJSON=encoded(said),
            authenticatorData=encoded(data),
            signature=encoded(made),
            userHandle=self.user_handle,
        )

    def _data(self, host: str, flags: int) -> bytes:
        flags |= _PRESENT | (_VERIFIED if self.verifies else 0)
        return hashlib.sha256(host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)

    def _client_data(self, kind: str, options: Mapping[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _credential(self, **response: object) -> dict[str, Any]:
        name = encoded(self.credential_id)
        kind = {"type": "public-key", "authenticatorAttachment": "cross-platform", "clientExtensionResults": {}}
        return {"id": name, "rawId": name, **kind, "response": response}


def encoded(octets: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _cose(key: Key) -> dict[int, object]:
    """Return the public key by the numbers of RFC 9053."""
    if isinstance(key, Ed25519PrivateKey):
        return {1: 1, 3: -8, -1: 6, -2: key.public_key().public_bytes_raw()}
    point = key.public_key().public_numbers()
    return {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)}
