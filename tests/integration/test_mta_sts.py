"""A domain's MTA-STS policy: asked for, shown by one of its servers, seen as others see it, and only then enforced."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import text

from control_plane.dns.generate import wanted_records
from control_plane.dns.mta_sts import MtaSts
from control_plane.provisioning.policy_looks import Ports, look_at_policies
from db.session import Database
from protos.agent.v1.configuration_pb2 import CertificateAuthority
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem
from tests.integration.shown_domain import Place, make_place

_NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.fixture
async def place(system_database: Database, tenant: SomeTenant) -> Place:
    return await make_place(system_database, tenant)


class Authority:
    """One that the test trusts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "The test's authority")])
        self.roots = folder / "roots.pem"
        root = self._builder(self._key.public_key(), self._name).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.roots.write_bytes(root.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def context(self, names: Sequence[str]) -> ssl.SSLContext:
        """Return a server's context with a certificate for the names."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._builder(key.public_key(), x509.Name([])).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True
        )
        pem = self._folder / "server.pem"
        pem.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _builder(self, key: ec.EllipticCurvePublicKey, subject: x509.Name) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
        )


@asynccontextmanager
async def _web_server(context: ssl.SSLContext, answer: str, host: str) -> AsyncIterator[Ports]:
    """Serve the answer to whoever asks for the policy of the host, on one port of loopback for HTTPS and mail alike."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
            assert f"host: {host}\r\n" in head.lower()
            writer.write(answer.encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Ports(https=port, submissions=port)
    finally:
        server.close()
        await server.wait_closed()


def _http(body: str, status: str = "200 OK", more: str = "content-type: text/plain") -> str:
    return f"HTTP/1.1 {status}\r\n{more}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"


async def _look(place: Place, authority: Authority, answer: str, names: Sequence[str] | None = None) -> None:
    host = f"mta-sts.{place.name}"
    context = authority.context([place.hostname, host] if names is None else names)
    async with _web_server(context, answer, host) as ports:
        await look_at_policies(place.database, authority.roots, _NOW, ports)


async def _ask(client: httpx.AsyncClient, place: Place, mode: str) -> httpx.Response:
    return await client.patch(f"domains/{place.domain_id}", json={"mta_sts": mode})


async def test_a_domain_that_asks_gets_records_and_its_server_the_policy(
    rest_client: httpx.AsyncClient, place: Place
) -> None:
    before = await place.version()
    answer = (await _ask(rest_client, place, "testing")).json()
    policy = await place.policy()

    assert (answer["mta_sts"], answer["mta_sts_seen"]) == ("testing", False)
    assert await place.version() > before
    assert (await place.shown()).mta_sts_policy == policy.text
    async with place.database.system() as session:
        records = (await wanted_records(session, place.domain_id))[place.inbox_id]
    assert {(r.type, r.name, r.value) for r in records if "mta-sts" in r.name} == {
        ("TXT", "_mta-sts", f"v=STSv1; id={policy.id};"),
        ("A", "mta-sts", "127.0.0.1"),
    }


async def test_the_certificate_is_for_the_name_only_while_that_leads_to_the_server(
    rest_client: httpx.AsyncClient, place: Place
) -> None:
    await _ask(rest_client, place, "testing")
    assert not (await place.shown()).mta_sts_certified
    before = await place.version()
    await place.verify_records()
    verified = await place.version()

    assert verified == before + 1
    assert (await place.shown()).mta_sts_certified
    assert not (await place.shown(authority=None)).mta_sts_certified
    await place.verify_records("drifted")
    assert await place.version() == verified + 1
    assert not (await place.shown()).mta_sts_certified


async def test_an_authority_that_looks_for_records_is_asked_where_they_are_written_for_the_owner(
    rest_client: httpx.AsyncClient, place: Place
) -> None:
    by_dns = CertificateAuthority(by_dns=True)
    await _ask(rest_client, place, "testing")
    await place.verify_records()
    assert (await place.shown(authority=by_dns)).mta_sts_certified

    before = await place.version()
    await rest_client.put(f"domains/{place.domain_id}/publisher", json={"kind": "manual"})
    assert await place.version() == before + 1
    assert not (await place.shown(authority=by_dns)).mta_sts_certified
    assert (await place.shown()).mta_sts_certified


async def test_another_server_of_the_domain_changes_the_policy_where_it_is_shown(
    rest_client: httpx.AsyncClient, place: Place
) -> None:
    await _ask(rest_client, place, "testing")
    alone, before = await place.policy(), await place.version()
    other = await make_server(place.database, place.tenant)
    await place.move_inbox_in(other)
    both = await place.policy()

    assert len(both.hosts) == 2
    assert both.id != alone.id
    assert await place.version() > before
    assert (await place.shown()).mta_sts_policy == both.text
    assert (await place.shown(other)).mta_sts_policy == ""
    async with place.database.system() as session:
        for records in (await wanted_records(session, place.domain_id)).values():
            assert {r.value for r in records if r.type == "A" and r.name == "mta-sts"} == {"127.0.0.1"}

    # Without its first inbox the other server shows it.
    async with place.database.system() as session:
        await session.execute(text("DELETE FROM inboxes WHERE id = :id"), {"id": place.inbox_id})
    assert "mx: " in (await place.shown(other)).mta_sts_policy


async def test_a_policy_is_enforced_once_it_was_seen_and_its_records_are_verified(
    rest_client: httpx.AsyncClient, place: Place, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    problem(await _ask(rest_client, place, "enforce"), 409, "conflict")
    await _ask(rest_client, place, "testing")
    problem(await _ask(rest_client, place, "enforce"), 409, "conflict")

    await _look(place, authority, _http((await place.policy()).text))
    shown = (await rest_client.get(f"domains/{place.domain_id}")).json()
    assert (shown["mta_sts_seen"], shown["mta_sts_detail"]) == (True, None)
    assert shown["mta_sts_looked_at"] is not None
    assert "not verified" in problem(await _ask(rest_client, place, "enforce"), 409, "conflict")["detail"]

    await place.verify_records()
    enforced = (await _ask(rest_client, place, "enforce")).json()
    # What was seen was the policy before.
    assert (enforced["mta_sts"], enforced["mta_sts_seen"]) == ("enforce", False)
    assert (await place.shown()).mta_sts_policy == (await place.policy(MtaSts.ENFORCE)).text


async def test_what_was_seen_once_must_be_seen_again_after_the_policy_was_away(
    rest_client: httpx.AsyncClient, place: Place, tmp_path: Path
) -> None:
    await _ask(rest_client, place, "testing")
    await place.verify_records()
    await _look(place, Authority(tmp_path), _http((await place.policy()).text))
    await _ask(rest_client, place, "none")
    assert (await place.shown()).mta_sts_policy == ""
    again = (await _ask(rest_client, place, "testing")).json()

    assert (again["mta_sts_seen"], again["mta_sts_looked_at"]) == (False, None)
    problem(await _ask(rest_client, place, "enforce"), 409, "conflict")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (_http("version: STSv1\nmode: none\nmax_age: 1\n"), "shows another policy"),
        (_http("", "404 Not Found"), "answers 404"),
        (_http("", "301 Moved", "location: https://elsewhere.example/"), "answers 301"),
        (_http("<html>", more="content-type: text/html"), "is not text/plain"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n" + "x" * 100_000, "shows another policy"),
        ("no HTTP at all", "does not answer"),
    ],
)
async def test_a_policy_that_others_would_have_no_use_for_was_not_seen(
    rest_client: httpx.AsyncClient, place: Place, tmp_path: Path, answer: str, says: str
) -> None:
    await _ask(rest_client, place, "testing")
    await _look(place, Authority(tmp_path), answer)
    shown = (await rest_client.get(f"domains/{place.domain_id}")).json()

    assert not shown["mta_sts_seen"]
    assert says in shown["mta_sts_detail"]
    assert says in problem(await _ask(rest_client, place, "enforce"), 409, "conflict")["detail"]


async def test_certificates_must_be_trusted_and_for_the_policys_and_each_servers_name(
    rest_client: httpx.AsyncClient, place: Place, tmp_path: Path
) -> None:
    await _ask(rest_client, place, "testing")
    good, details = _http((await place.policy()).text), []
    for names in ([place.hostname], [f"mta-sts.{place.name}"]):
        await _look(place, Authority(tmp_path), good, names)
        details.append((await rest_client.get(f"domains/{place.domain_id}")).json()["mta_sts_detail"])
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    host = f"mta-sts.{place.name}"
    async with _web_server(Authority(stranger).context([place.hostname, host]), good, host) as ports:
        await look_at_policies(place.database, Authority(tmp_path).roots, _NOW, ports)
    details.append((await rest_client.get(f"domains/{place.domain_id}")).json()["mta_sts_detail"])

    assert details[0].startswith(f"https://mta-sts.{place.name}/.well-known/mta-sts.txt does not answer")
    assert all(detail.startswith(f"{place.hostname} shows no certificate that is trusted") for detail in details[1:])


async def test_a_policy_that_was_seen_is_looked_at_again_after_a_day(
    rest_client: httpx.AsyncClient, place: Place, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    await _ask(rest_client, place, "testing")
    await _look(place, authority, _http((await place.policy()).text))

    # Nobody listens there any more; it is not asked.
    await look_at_policies(place.database, authority.roots, _NOW + dt.timedelta(hours=23), Ports(1, 1))
    assert (await rest_client.get(f"domains/{place.domain_id}")).json()["mta_sts_seen"]
    await look_at_policies(place.database, authority.roots, _NOW + dt.timedelta(hours=25), Ports(1, 1))
    shown = (await rest_client.get(f"domains/{place.domain_id}")).json()
    assert (shown["mta_sts_seen"], shown["mta_sts_detail"]) == (False, f"{place.hostname} does not answer")


async def test_another_word_than_the_three_is_refused(rest_client: httpx.AsyncClient, place: Place) -> None:
    problem(await _ask(rest_client, place, "always"), 422, "invalid-input")
