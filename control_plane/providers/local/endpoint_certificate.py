"""The certificate of the local authority's own HTTPS endpoint, and the root that servers trust for it."""

import datetime as dt
import ipaddress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LIFE = dt.timedelta(days=3650)
_CLOCK_TOLERANCE = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class EndpointCertificate:
    """All in PEM. The root's key is not kept: nothing else is ever signed with it."""

    root_pem: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


def make_endpoint_certificate(address: ipaddress.IPv4Address, now: dt.datetime) -> EndpointCertificate:
    """Make a root, and under it a certificate for the address."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "PenguinMails local endpoint root")])
    root = (
        _builder(root_name, root_name, root_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    certificate = (
        _builder(x509.Name([]), root_name, key.public_key(), now)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return EndpointCertificate(root.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.PEM), key_pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now + _LIFE)
    )
