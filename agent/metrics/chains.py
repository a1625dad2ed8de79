"""Whether clients can follow a chain of certificates as a port shows it. Pure.

Some fetch a certificate that is missing by themselves, and some remember it from elsewhere; mail programs do neither.
"""

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import AuthorityInformationAccessOID

WITHOUT_ISSUER = "without its issuer's certificate"
WITH_ANOTHER = "with other certificates than its issuer's"


def chain_fault(chain: Sequence[x509.Certificate]) -> str:
    """Return what is wrong with a chain, the server's own certificate first; empty when nothing is.

    A root need not be shown (RFC 8446 section 4.4.2), and is no one's business that trusts it. So a certificate that is
    shown alone is at fault if it says where its issuer's is to be had (RFC 5280 section 4.2.2.1): those of authorities
    that everybody trusts do, and are never issued by a root.
    """
    own, *others = chain
    if own.issuer == own.subject or any(_is_issued_by(own, other) for other in others):
        return ""
    if others:
        return WITH_ANOTHER
    return WITHOUT_ISSUER if _names_issuer(own) else ""


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _names_issuer(certificate: x509.Certificate) -> bool:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False
    return any(each.access_method == AuthorityInformationAccessOID.CA_ISSUERS for each in access)
