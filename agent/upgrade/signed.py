"""Whether a manifest is one that the platform has signed.

An Ed25519 key signs one manifest and is then forgotten; the pinned authority's certificate for it says that it may.
Certificates of agents and of doors may not: they are for other uses.
"""

import datetime as dt

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID

#: What is signed is this and the manifest, so that no other signature can be taken for one.
PREFIX = b"PenguinMails release manifest\n"


class NotSigned(Exception):
    """The manifest is not one that may be installed; the message says why."""


def verify(manifest: bytes, signature: bytes, certificate_der: bytes, authority_pem: bytes, now: dt.datetime) -> None:
    """Raise `NotSigned` unless the authority's certificate, valid `now`, is of the key that signed the manifest."""
    try:
        authority = x509.load_pem_x509_certificate(authority_pem)
        certificate = x509.load_der_x509_certificate(certificate_der)
        certificate.verify_directly_issued_by(authority)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        key = certificate.public_key()
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise NotSigned(f"the signer's certificate is not the pinned authority's: {type(error).__name__}") from error
    if ExtendedKeyUsageOID.CODE_SIGNING not in usage or not isinstance(key, Ed25519PublicKey):
        raise NotSigned("the signer's certificate is not for releases")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise NotSigned("the signer's certificate is out of date")
    try:
        key.verify(signature, PREFIX + manifest)
    except InvalidSignature as error:
        raise NotSigned("the manifest is not what was signed") from error
