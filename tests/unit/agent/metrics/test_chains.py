"""Chains of certificates, whole and not."""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from agent.metrics.chains import WITH_ANOTHER, WITHOUT_ISSUER, chain_fault

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


class Authority:
    """Has a key, and a certificate by `above` or by itself."""

    def __init__(self, name: str, above: "Authority | None" = None) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (above or self).issue(self.name, self.key)

    def issue(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), 1, NOW, NOW + dt.timedelta(days=90))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue_to_server(self, *methods: x509.ObjectIdentifier) -> x509.Certificate:
        """Say by these methods where to ask about it."""
        place = x509.UniformResourceIdentifier("http://authority.example/")
        access = [x509.AccessDescription(method, place) for method in methods]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.example")])
        extensions = [x509.AuthorityInformationAccess(access)] if access else []
        return self.issue(subject, ec.generate_private_key(ec.SECP256R1()), *extensions)


ROOT = Authority("root")
BETWEEN = Authority("between", ROOT)
#: Of the same name, with a key of its own.
FORMER = Authority("between", ROOT)
PUBLIC = BETWEEN.issue_to_server(AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS)


def test_a_chain_with_its_issuer_is_whole_in_any_order() -> None:
    assert chain_fault([PUBLIC, BETWEEN.certificate]) == ""
    assert chain_fault([PUBLIC, ROOT.certificate, BETWEEN.certificate]) == ""


def test_a_certificate_of_its_own_needs_no_other() -> None:
    assert chain_fault([ROOT.certificate]) == ""


def test_a_public_authoritys_certificate_alone_is_not_enough() -> None:
    assert chain_fault([PUBLIC]) == WITHOUT_ISSUER


def test_what_a_root_of_somebodys_own_has_issued_may_be_shown_alone() -> None:
    assert chain_fault([ROOT.issue_to_server()]) == ""
    assert chain_fault([ROOT.issue_to_server(AuthorityInformationAccessOID.OCSP)]) == ""


def test_other_certificates_do_not_stand_in_for_the_issuers() -> None:
    assert chain_fault([PUBLIC, ROOT.certificate]) == WITH_ANOTHER
    assert chain_fault([PUBLIC, FORMER.certificate]) == WITH_ANOTHER
    assert chain_fault([ROOT.issue_to_server(), FORMER.certificate]) == WITH_ANOTHER
