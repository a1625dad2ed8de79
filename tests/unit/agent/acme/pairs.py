"""Pairs as an authority would issue them."""

import datetime as dt
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailstack.certificates.pair import Pair


def issued(hostname: str, begins: dt.datetime, life: dt.timedelta, further: Sequence[str] = ()) -> Pair:
    """Return a pair whose certificate names somebody else as its issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + life)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in (hostname, *further)]), critical=True
        )
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), key_pem)
