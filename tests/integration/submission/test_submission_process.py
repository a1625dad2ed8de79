"""Python's own SMTP client against a real submission process."""

import asyncio
import email
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import problem
from tests.integration.submission.certificate import NAME, make_certificate


@dataclass(frozen=True, slots=True)
class Door:
    """A running process: its ports, and what its certificate is checked with."""

    starttls: int
    tls: int
    trust: ssl.SSLContext
    process: subprocess.Popen[bytes]

    def open(self) -> smtplib.SMTP:
        """Return a client that is in TLS and not logged in."""
        client = smtplib.SMTP("127.0.0.1", self.starttls, timeout=30)
        client._host = NAME  # type: ignore[attr-defined]  # what it checks the certificate for
        client.starttls(context=self.trust)
        client.ehlo()
        return client

    def send(self, user: str, key: str, message: EmailMessage, recipients: list[str] | None = None) -> str:
        """Send as a program does, and return the last reply."""
        with self.open() as client:
            client.login(user, key)
            to = recipients or [str(message["To"])]
            assert client.mail(str(message["From"]))[0] == 250
            for each in to:
                assert client.rcpt(each)[0] == 250
            code, reply = client.data(message.as_bytes(policy=policy.SMTP))
            return f"{code} {reply.decode()}"


@pytest.fixture
def door(rest_settings: Settings, redis_server: EmbeddedRedis, redis: Redis, tmp_path: Path) -> Iterator[Door]:
    chain, key = make_certificate(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as starttls, socket.create_server(("127.0.0.1", 0)) as tls:
        environment = {
            **os.environ,
            "PENGUIN_STATE_DIR": str(rest_settings.state_dir),
            "PENGUIN_API_DATABASE_URL": rest_settings.api_database_url.get_secret_value(),
            "PENGUIN_REDIS_URL": redis_server.url,
            "PENGUIN_SUBMISSION_HOSTNAME": NAME,
            "PENGUIN_SUBMISSION_CERTIFICATE_FILE": str(chain),
            "PENGUIN_SUBMISSION_KEY_FILE": str(key),
            "PENGUIN_SUBMISSION_FDS": f"{starttls.fileno()},{tls.fileno()}",
        }
        command = [sys.executable, "-m", "control_plane.processes.submission"]
        with subprocess.Popen(command, env=environment, pass_fds=[starttls.fileno(), tls.fileno()]) as process:
            trust = ssl.create_default_context(cafile=str(chain))
            yield Door(starttls.getsockname()[1], tls.getsockname()[1], trust, process)
            process.kill()


@pytest.fixture
async def sender(system_database: Database, tenant: SomeTenant) -> str:
    await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    return str((await rows(system_database, "SELECT email_address FROM inboxes"))[0].email_address)


async def rows(database: Database, query: str = "SELECT * FROM messages ORDER BY id") -> list[Any]:
    async with database.system() as session:
        return list((await session.execute(text(query))).all())


def a_message(sender: str, **fields: str) -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = sender, "anna@example.net", "Möwe"
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content("Hello Anna\n.\nand Jürgen\n", cte="8bit")
    return message


async def test_a_message_is_a_send_to_each_recipient_and_the_reply_names_them(
    door: Door, system_database: Database, tenant: SomeTenant, sender: str
) -> None:
    message = a_message(f"Sales <{sender}>", Bcc="eve@example.net", Message_ID="<1@tool.example>")
    del message["From"]
    message["From"] = sender
    reply = await asyncio.to_thread(
        door.send, sender, tenant.api_key, message, ["anna@example.net", "eve@example.net", "anna@example.net"]
    )
    sends = await rows(system_database)
    assert reply == f"250 2.0.0 {sends[0].id}\n2.0.0 {sends[1].id}"
    assert [each.recipient for each in sends] == ["anna@example.net", "eve@example.net"]
    for each in sends:
        assert (each.state, each.subject, each.envelope_sender) == ("accepted", "Möwe", sender)
        sent = email.message_from_bytes(each.payload, policy=policy.SMTP)
        assert isinstance(sent, EmailMessage)
        assert (sent["Message-ID"], sent["Bcc"]) == (f"<{each.id}@{each.signing_domain}>", None)
        assert sent.get_content() == "Hello Anna\r\n.\r\nand Jürgen\r\n"
        assert each.payload.isascii()


async def test_a_message_that_comes_again_is_sent_once(
    door: Door, system_database: Database, tenant: SomeTenant, sender: str
) -> None:
    prefix, message = tenant.api_key.split("_")[2], a_message(sender, Message_ID="<1@tool.example>")
    first = await asyncio.to_thread(door.send, prefix, tenant.api_key, message)
    assert await asyncio.to_thread(door.send, prefix, tenant.api_key, message) == first
    assert len(await rows(system_database)) == 1
    message.set_content("Something else\n")
    assert (await asyncio.to_thread(door.send, prefix, tenant.api_key, message)).startswith("554 5.6.0")
    await asyncio.to_thread(door.send, prefix, tenant.api_key, message, ["bob@example.net"])
    assert len(await rows(system_database)) == 2


async def test_nothing_is_said_before_tls_and_nothing_taken_before_log_in(door: Door, sender: str) -> None:
    def talk() -> None:
        with smtplib.SMTP("127.0.0.1", door.starttls, timeout=30) as plain:
            plain.ehlo()
            assert not plain.has_extn("auth")
            assert plain.mail(sender)[0] == 530
            assert plain.docmd("AUTH PLAIN AGEAYg==")[0] in {530, 538}
        with door.open() as client:
            assert client.esmtp_features["auth"].split() == ["LOGIN", "PLAIN"]
            assert client.esmtp_features["size"] == "10000000"
            assert client.mail(sender) == (530, b"5.7.0 Log in first: AUTH with an API key as password.")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            smtplib.SMTP_SSL("127.0.0.1", door.tls, timeout=30, context=old)

    await asyncio.to_thread(talk)


async def test_tls_from_the_start_does_for_both_ways_to_log_in(
    door: Door, system_database: Database, tenant: SomeTenant, sender: str
) -> None:
    class Named(smtplib.SMTP_SSL):
        def _get_socket(self, address: Any, port: Any, timeout: Any) -> socket.socket:  # noqa: ANN401 - its own
            plain = socket.create_connection((address, port), timeout)
            return door.trust.wrap_socket(plain, server_hostname=NAME)

    def talk(way: str) -> None:
        with Named("127.0.0.1", door.tls, timeout=30) as client:
            client.ehlo()
            assert not client.has_extn("starttls")
            assert client.mail(sender)[0] == 530
            client.user, client.password = sender, tenant.api_key
            assert client.auth(way, client.auth_login if way == "LOGIN" else client.auth_plain)[0] == 235
            client.send_message(a_message(sender))

    for way in ("LOGIN", "PLAIN"):
        await asyncio.to_thread(talk, way)
    assert len(await rows(system_database)) == 2


async def test_only_a_true_key_that_may_send_for_its_own_inboxes_gets_in(
    door: Door, system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant, sender: str
) -> None:
    def talk() -> None:
        with door.open() as client:
            for user, key in (
                (sender, tenant.api_key[:-1] + "7"),
                (sender, "secret"),
                (sender, other_tenant.api_key),
                ("somebody@example.net", tenant.api_key),
                ("", ""),
            ):
                with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                    client.login(user, key)
                assert refused.value.smtp_code == 535
            client.login(other_tenant.api_key.split("_")[2], other_tenant.api_key)
            assert client.mail(sender) == (550, b"5.7.1 The sender's address is no inbox of yours.")

    await asyncio.to_thread(talk)
    async with system_database.system() as session:
        await session.execute(text("UPDATE api_keys SET scopes = '{messages:read}'"))
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await asyncio.to_thread(door.send, sender, tenant.api_key, a_message(sender))
    assert await rows(system_database) == []


async def test_what_is_wrong_is_told_where_it_is_said(
    door: Door, system_database: Database, tenant: SomeTenant, sender: str
) -> None:
    def talk() -> None:
        with door.open() as client:
            client.login(sender, tenant.api_key)
            assert client.mail(sender, ["SIZE=10000001"])[0] == 552
            assert client.mail(sender, ["SIZE=1000", "BODY=8BITMIME"])[0] == 250
            assert client.rcpt("nobody")[0] == 553
            assert client.rcpt("anna@example.net")[0] == 250
            assert client.data(a_message("boss@example.net").as_bytes(policy=policy.SMTP)) == (
                550, b"5.7.1 The field From must be the address that MAIL FROM names.",
            )  # fmt: skip
            for content in (b"no header", b"From: x@y.example\r\nFrom: x@y.example\r\n\r\nx"):
                client.mail(sender)
                client.rcpt("anna@example.net")
                assert client.data(content)[0] == 554

    await asyncio.to_thread(talk)
    assert await rows(system_database) == []


async def test_what_needs_smtputf8_is_refused_as_at_rest_and_a_domain_in_unicode_is_taken(
    door: Door, rest_client: httpx.AsyncClient, system_database: Database, tenant: SomeTenant, sender: str
) -> None:
    written = a_message(sender).as_bytes(policy=policy.SMTP)
    gull, anna = "möwe@example.net", "anna@mo\N{COMBINING DIAERESIS}we.example"

    def talk() -> str:
        with door.open() as client:
            assert not client.has_extn("smtputf8")
            client.login(sender, tenant.api_key)
            client.command_encoding = "utf-8"
            assert client.docmd("VRFY @möwe") == (502, b"Could not VRFY @m?we")
            assert client.docmd(f"MAIL FROM:<{sender}> SMTPUTF8") == (
                555, b"5.5.4 SMTPUTF8 is not offered here: addresses and headers are ASCII.",
            )  # fmt: skip
            assert client.docmd(f"MAIL FROM:<{gull}> SMTPUTF8")[1].startswith(b"5.6.7 ")
            assert client.mail(sender)[0] == 250
            client.send(f"RCPT TO:<{gull}>\r\n".encode("latin-1"))
            code, in_another_charset = client.getreply()
            assert client.docmd(f"RCPT TO:<{gull}>") == (code, in_another_charset) == (553, in_another_charset)
            assert client.docmd(f"RCPT TO:<{anna}>")[0] == 250
            assert client.data(b"X-Bird: M\xc3\xb6we\r\n" + written) == (
                550, b"5.6.9 The message's header is not ASCII; encode it as RFC 2047 says.",
            )  # fmt: skip
            client.mail(sender)
            client.docmd(f"RCPT TO:<{anna}>")
            assert client.data(written)[0] == 250
            return in_another_charset.decode()

    told = await asyncio.to_thread(talk)
    (inbox,) = await rows(system_database, "SELECT id FROM inboxes")
    path, order = f"inboxes/{inbox.id}/messages", {"subject": "Fish", "text": "Herring"}
    refused = problem(await rest_client.post(path, json={"to": gull, **order}), 422, "invalid-input")
    assert told == f"5.6.7 {refused['detail']}"
    assert (await rest_client.post(path, json={"to": anna, **order})).status_code == 202
    assert [each.recipient for each in await rows(system_database)] == ["anna@xn--mwe-sna.example"] * 2


async def test_a_key_that_is_revoked_meanwhile_sends_no_more(
    door: Door, system_database: Database, tenant: SomeTenant, sender: str
) -> None:
    client = await asyncio.to_thread(door.open)
    with client:
        await asyncio.to_thread(client.login, sender, tenant.api_key)
        assert client.mail(sender)[0] == 250
        assert client.rcpt("anna@example.net")[0] == 250
        async with system_database.system() as session:
            await session.execute(text("UPDATE api_keys SET revoked_at = now()"))
        assert client.data(a_message(sender).as_bytes(policy=policy.SMTP)) == (
            550, b"5.7.1 The API key has been revoked.",
        )  # fmt: skip
    assert await rows(system_database) == []


async def test_too_many_log_ins_that_fail_turn_an_address_away_and_the_process_ends_when_told(
    door: Door, tenant: SomeTenant, sender: str, redis: Redis
) -> None:
    def talk() -> str:
        with door.open() as client:
            for _ in range(150):
                code, reply = client.docmd("AUTH", "PLAIN AGEAYg==")
                if code != 535:
                    return f"{code} {reply.decode()}"
        return ""

    assert (await asyncio.to_thread(talk)).startswith("454 4.7.0")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await asyncio.to_thread(door.send, sender, tenant.api_key, a_message(sender))
    door.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(door.process.wait, 30) == 0
