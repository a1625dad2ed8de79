import uuid
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from control_plane.enrolment.authority import AGENT_CERTIFICATE_LIFE, Authority
from control_plane.enrolment.certificate_profile import authority_certificate
from control_plane.enrolment.identity import AgentIdentity, identity_of
from control_plane.errors import InvalidInput, Unauthenticated

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WHO = AgentIdentity(uuid.UUID(int=1), uuid.UUID(int=2))


def make_authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(authority_certificate(key, NOW), key, "penguin.example", lambda: NOW)


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whatever the caller likes")])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://penguin.example/tenant/x/vps/y")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def store_of(authority: Authority) -> Store:
    return Store([x509.load_pem_x509_certificate(authority.certificate_pem)])


def test_an_agents_certificate_names_the_server_we_know_and_nothing_of_the_request() -> None:
    authority = make_authority()

    issued = authority.issue_agent(request(ec.generate_private_key(ec.SECP256R1())), WHO)

    assert identity_of(issued.pem) == (WHO, issued.serial)
    certificate = x509.load_pem_x509_certificate(issued.pem)
    assert "whatever" not in certificate.subject.rfc4514_string()
    assert issued.not_after == NOW + AGENT_CERTIFICATE_LIFE
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]


def test_a_door_and_an_agent_verify_by_the_authority_each_for_its_own_use() -> None:
    authority = make_authority()
    door = x509.load_pem_x509_certificate(authority.issue_server([], ["10.77.0.1"]).certificate_pem)
    agent = x509.load_pem_x509_certificate(
        authority.issue_agent(request(ec.generate_private_key(ec.SECP256R1())), WHO).pem
    )
    policy = PolicyBuilder().store(store_of(authority)).time(NOW + timedelta(hours=1))

    verified = policy.build_client_verifier().verify(agent, [])

    assert verified.chain[0] == agent
    with pytest.raises(x509.verification.VerificationError):
        policy.build_client_verifier().verify(door, [])


@pytest.mark.parametrize("csr", [b"", b"not DER", request(ec.generate_private_key(ec.SECP256R1()))[:-4] + b"\0\0\0\0"])
def test_a_request_that_does_not_verify_is_refused(csr: bytes) -> None:
    with pytest.raises(InvalidInput):
        make_authority().issue_agent(csr, WHO)


def test_a_request_for_another_kind_of_key_is_refused() -> None:
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(InvalidInput, match="P-256"):
            make_authority().issue_agent(request(key), WHO)


def test_neither_a_door_nor_the_authority_passes_for_an_agent() -> None:
    authority = make_authority()

    for pem in (authority.certificate_pem, authority.issue_server(["hub.example"], []).certificate_pem, b"garbage"):
        with pytest.raises(Unauthenticated):
            identity_of(pem)


def test_the_private_key_of_a_door_does_not_show() -> None:
    issued = make_authority().issue_server([], ["10.77.0.1"])

    assert "PRIVATE" not in repr(issued)
