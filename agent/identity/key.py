"""The server's private key: made here, kept here, never sent anywhere.

SECURITY: P-256, PKCS#8 PEM, mode 0600 in a folder of mode 0700 that belongs to the agent's user. Only a signing
request with the public half leaves the server; the names in a certificate are the control plane's decision, so the
request asks for none.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity.store import DamagedIdentity, write_atomically


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the key. Raises `FileNotFoundError`, or `ValueError` when it is not an elliptic-curve key."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DamagedIdentity(f"{path} is not an elliptic-curve key")
    return key


def make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a new key and keep it, replacing whatever was there."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_atomically(path, key_pem(key), mode=0o600)
    return key


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as PKCS#8 PEM without encryption, for its file and for TLS."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a PKCS#10 request (DER) that carries the public key and proves possession of the private one."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)
