"""A key with its certificate chain, as it lies in one file: the key first (postconf(5), smtpd_tls_chain_files)."""

import datetime as dt
import re
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----\n", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN PRIVATE KEY-----\n.+?\n-----END PRIVATE KEY-----\n", re.DOTALL)


class InvalidPair(ValueError):
    """That cannot be served; the message says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both in PEM; the chain begins with the server's own certificate."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)

    @property
    def packed(self) -> bytes:
        """The file's content."""
        return self.key_pem + self.chain_pem

    @property
    def certificate(self) -> x509.Certificate:
        """The server's own certificate; raises `InvalidPair`."""
        try:
            return x509.load_pem_x509_certificate(self.chain_pem)
        except ValueError as error:
            raise InvalidPair("the chain does not begin with a certificate") from error


def unpack(content: bytes) -> Pair:
    """Return what the file holds; raise `InvalidPair` when it is not one key and its chain."""
    keys, certificates = _KEY.findall(content), _CERTIFICATE.findall(content)
    if len(keys) != 1 or not certificates:
        raise InvalidPair("there is not one key with its certificates")
    return Pair(b"".join(certificates), keys[0])


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Say whether it names itself as its issuer."""
    return certificate.issuer == certificate.subject


def is_for(certificate: x509.Certificate, hostname: str) -> bool:
    """Say whether it is for the host name."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    return hostname in names.get_values_for_type(x509.DNSName)


def renewal_time(certificate: x509.Certificate) -> dt.datetime:
    """Return when it is to be renewed: after two thirds of its own life, however long that is."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc + life * 2 / 3


def require_servable(pair: Pair, hostname: str, now: dt.datetime) -> None:
    """Raise `InvalidPair` unless a client that connects to the host name now could be shown it."""
    certificate = pair.certificate
    try:
        x509.load_pem_x509_certificates(pair.chain_pem)
    except ValueError as error:
        raise InvalidPair("the chain holds what is no certificate") from error
    try:
        key = load_pem_private_key(pair.key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidPair("the key cannot be read") from error
    if key.public_key() != certificate.public_key():
        raise InvalidPair("the certificate is for another key")
    if not is_for(certificate, hostname):
        raise InvalidPair(f"the certificate is not for {hostname}")
    if certificate.not_valid_after_utc <= now:
        raise InvalidPair("the certificate has expired")
