"""Who an agent is: the one SPIFFE id in its certificate."""

import re
import uuid
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from control_plane.errors import Unauthenticated

_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9.-]{1,255}/tenant/([0-9a-f-]{36})/vps/([0-9a-f-]{36})")


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """One server of one tenant."""

    tenant_id: uuid.UUID
    vps_id: uuid.UUID

    def spiffe_id(self, trust_domain: str) -> str:
        """Return the URI that stands in the certificate (SPIFFE-ID, section 2)."""
        return f"spiffe://{trust_domain}/tenant/{self.tenant_id}/vps/{self.vps_id}"


def identity_of(certificate_pem: bytes) -> tuple[AgentIdentity, str]:
    """Return whom an agent's certificate names, and its serial number in hex.

    The chain was verified by the TLS handshake; this checks that it is a leaf made for an agent: no authority, for
    client authentication, with exactly one URI. Raises `Unauthenticated` for any other.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        uris = _uris_of_client_leaf(certificate)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Unauthenticated("the client's certificate is not an agent's") from error
    match = _SPIFFE_ID.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None:
        raise Unauthenticated("the client's certificate names no server")
    return AgentIdentity(uuid.UUID(match[1]), uuid.UUID(match[2])), serial_of(certificate)


def serial_of(certificate: x509.Certificate) -> str:
    """Return the serial number as the database holds it, lower-case hex."""
    return f"{certificate.serial_number:x}"


def _uris_of_client_leaf(certificate: x509.Certificate) -> list[str]:
    extensions = certificate.extensions
    is_authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if is_authority or ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise ValueError("not a client's leaf certificate")
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)
