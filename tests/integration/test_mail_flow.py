"""Looking at a mail server from outside: what a good one shows, and what each fault is called."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from control_plane.provisioning import mail_flow
from control_plane.provisioning.mail_flow import MailFlowBroken, ProbeTarget, verify_mail_flow
from tests.fakes.hub import FakeAuthority
from tests.fakes.mail_server import FakeMailServer, running_mail_server

HOSTNAME = "mx-1.penguin.example"
MAILBOX = f"penguin-probe@{HOSTNAME}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeMailServer]:
    key, certificate = FakeAuthority().server()
    chain = tmp_path / "chain.pem"
    chain.write_bytes(key + certificate)
    with running_mail_server(HOSTNAME, MAILBOX, "probe-password", chain) as running:
        yield running


@pytest.fixture
def target(server: FakeMailServer) -> ProbeTarget:
    return ProbeTarget(
        ipv4_address="127.0.0.1",
        hostname=HOSTNAME,
        helo="verify.penguin.example",
        mailbox=MAILBOX,
        password="probe-password",
        smtp_port=server.smtp_port,
        imaps_port=server.imaps_port,
    )


def test_a_good_server_passes_and_its_mailbox_is_left_as_it_was(server: FakeMailServer, target: ProbeTarget) -> None:
    server.messages.append(b"Message-ID: <another@elsewhere.example>\r\n\r\nStays.\r\n")

    verify_mail_flow(target)

    assert server.messages == [b"Message-ID: <another@elsewhere.example>\r\n\r\nStays.\r\n"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("relays", "relays for strangers"),
        ("knows_everyone", "accepts unknown users"),
        ("loses_mail", "did not reach its mailbox"),
    ],
)
def test_each_fault_is_named(
    server: FakeMailServer, target: ProbeTarget, fault: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_flow, "_DELIVERY_TIMEOUT", 0.2)
    setattr(server, fault, True)

    with pytest.raises(MailFlowBroken, match=words):
        verify_mail_flow(target)


def test_a_server_without_tls_is_refused(server: FakeMailServer, target: ProbeTarget) -> None:
    server.offers_starttls = False

    with pytest.raises(MailFlowBroken, match="does not offer STARTTLS"):
        verify_mail_flow(target)


def test_a_wrong_password_and_a_closed_port_are_named_without_the_password(target: ProbeTarget) -> None:
    for bad in (replace(target, password="wrong-password"), replace(target, smtp_port=1)):
        with pytest.raises(MailFlowBroken) as broken:
            verify_mail_flow(bad)
        assert HOSTNAME in str(broken.value)
        assert "wrong-password" not in str(broken.value)
        assert "password=" not in repr(bad)
