"""The gateway of deploy/haproxy: several real replicas behind a real HAProxy, which come and go while it is used."""

import asyncio
import contextlib
import os
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from control_plane.embedded.postgres import EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.enrolment.authority import Authority
from control_plane.errors import Unavailable
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant, fresh_database, make_tenant
from tests.integration.gateway import (
    BACKENDS,
    DOORS,
    HAPROXY,
    Gateway,
    Replica,
    free_port,
    gateway_environment,
    running_gateway,
)
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem
from tests.integration.running_hub import TRUST_DOMAIN, AgentLink, Credentials, RunningHub

#: Its processes are started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Longer than the gateway needs to see that a replica is about to end.
_DRAIN_SECONDS = 3
_CLIENTS = 8
_HEADERS = 0x1
_SETTINGS = 0x4


@dataclass(frozen=True)
class Platform:
    """Two REST replicas, two hubs and an operators' door behind one gateway."""

    gateway: Gateway
    apis: list[Replica]
    hubs: list[Replica]
    #: What agents trust and how they link, at the gateway.
    hub: RunningHub
    tenant: SomeTenant

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.hub.authority.certificate_pem.decode())

    @asynccontextmanager
    async def client(
        self, key: str, source: str = "127.0.0.1", door: str = "TENANTS"
    ) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.AsyncHTTPTransport(verify=self.trusting(), local_address=source)
        async with httpx.AsyncClient(
            transport=transport,
            base_url=f"https://{self.gateway.address(door)}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        ) as client:
            yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(
    cluster: EmbeddedPostgres, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    with fresh_database(cluster) as database:
        async with running_platform(database, redis_server.url, tmp_path_factory.mktemp("gateway")) as running:
            yield running


@asynccontextmanager
async def running_platform(database: FreshDatabase, redis_url: str, tmp_path: Path) -> AsyncIterator[Platform]:
    ports = {door: free_port() for door in DOORS}
    gateway = Gateway(ports, tmp_path)
    environment = {
        "PENGUIN_STATE_DIR": str(tmp_path),
        "PENGUIN_REDIS_URL": redis_url,
        "PENGUIN_ENROL_ENDPOINT": gateway.address("ENROLMENT"),
        "PENGUIN_LINK_ENDPOINT": gateway.address("LINKS"),
        "PENGUIN_TRUSTED_PROXIES": '["127.0.0.1"]',
        "PENGUIN_REST_DRAIN_SECONDS": str(_DRAIN_SECONDS),
    }
    system = {**environment, "PENGUIN_SYSTEM_DATABASE_URL": database.url("penguin_system")}
    tenants = {**environment, "PENGUIN_API_DATABASE_URL": database.url("penguin_api")}
    tenants["PENGUIN_IDENTITY_DATABASE_URL"] = database.url("penguin_identity")
    apis = [Replica("api", tenants, tmp_path, free_port()) for _ in range(2)]
    operators = Replica("operators", system, tmp_path, free_port())
    listening = [(free_port(), free_port()) for _ in range(2)]
    hubs = [
        Replica(
            "hub",
            {
                **system,
                "PENGUIN_ENROL_LISTEN": f"127.0.0.1:{enrolment}",
                "PENGUIN_LINK_LISTEN": f"127.0.0.1:{link}",
            },
            tmp_path,
        )
        for enrolment, link in listening
    ]
    servers = {
        "tenants": [f"127.0.0.1:{api.port}" for api in apis],
        "operators": [f"127.0.0.1:{operators.port}"],
        "enrolment": [f"127.0.0.1:{enrolment} check-ssl verify none" for enrolment, _ in listening],
        "links": [f"127.0.0.1:{link} check-ssl verify none port {enrolment}" for enrolment, link in listening],
        "downloads": [f"127.0.0.1:{free_port()} check-ssl verify none"],
    }
    settings = Settings.model_validate(
        {
            "state_dir": tmp_path,
            "enrol_endpoint": gateway.address("ENROLMENT"),
            "link_endpoint": gateway.address("LINKS"),
        }
    )
    tests_own = Database(database.url("penguin_system"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tests_own.close)
        sealer = Sealer.of_file(settings.sealing_key_file)
        async with tests_own.system() as session:
            authority = await Authority.load_or_create(session, sealer, TRUST_DOMAIN)
        for replica in (*apis, operators, *hubs):
            stack.push_async_callback(replica.stop)
        await asyncio.gather(*(replica.start() for replica in (*apis, operators, *hubs)))
        shown = authority.issue_server([], ["127.0.0.1"])
        running = await stack.enter_async_context(running_gateway(ports, shown, servers, tmp_path))
        yield Platform(
            running,
            apis,
            hubs,
            RunningHub(settings, tests_own, authority),
            await make_tenant(tests_own, "Penguin Post"),
        )


# ---------------------------------------------------------------- REST


@dataclass
class Load:
    """Clients that ask one thing after another, and what they were answered."""

    answers: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    answered: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, client: httpx.AsyncClient, workspace: uuid.UUID) -> None:
        """Read some and write once, by turns; the door's own limits are far above this."""
        number = 0
        while not self.stopped.is_set():
            number += 1
            try:
                read = [await client.get(f"/api/v1/workspaces/{workspace}/inboxes") for _ in range(4)]
                written = await client.post("/api/v1/api-keys", json={"name": f"key {number}", "role": "member"})
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            else:
                self.answers += [answer.status_code for answer in (*read, written)]
                self.failures += [answer.text for answer in (*read, written) if not answer.is_success]
            self.answered.release()


async def test_replicas_are_stopped_and_started_under_load_and_no_request_fails(
    platform: Platform,
) -> None:
    load = Load()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for _ in range(_CLIENTS):
            client = await stack.enter_async_context(platform.client(platform.tenant.api_key))
            tasks.create_task(load.ask(client, platform.tenant.workspace_id))
        for number, replica in enumerate(platform.apis):
            await replica.stop()
            load.answered = asyncio.Semaphore(0)
            for _ in range(2 * _CLIENTS):
                await load.answered.acquire()
            await replica.start()
            await platform.gateway.until_used("tenants", f"tenants{number}")
        load.stopped.set()
    assert load.failures == []
    assert set(load.answers) == {200, 201}


async def test_a_client_is_known_by_its_address_whatever_it_says_of_itself(
    platform: Platform,
) -> None:
    async with platform.client(platform.tenant.api_key) as owner:
        made = await owner.post(
            "/api/v1/api-keys", json={"name": "of one place", "role": "member", "networks": ["127.0.0.9/32"]}
        )
        assert made.status_code == 201, made.text
        key = made.json()["key"]
    path = f"/api/v1/workspaces/{platform.tenant.workspace_id}/inboxes"
    async with platform.client(key, "127.0.0.9") as there, platform.client(key, "127.0.0.5") as elsewhere:
        assert (await there.get(path)).status_code == 200
        lies = {"X-Forwarded-For": "127.0.0.9", "Forwarded": "for=127.0.0.9", "X-Forwarded-Host": "127.0.0.9"}
        assert (await elsewhere.get(path, headers=lies)).status_code in {401, 403}


async def test_http_2_is_spoken(platform: Platform) -> None:
    context = platform.trusting()
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.gateway.ports["TENANTS"], ssl=context)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    assert (tls.selected_alpn_protocol(), tls.version()) == ("h2", "TLSv1.3")
    # RFC 7541: GET, https, and by literals path and authority.
    head = b"\x82\x87" + b"\x04\x08/healthz" + b"\x41\x07gateway"
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(_SETTINGS, 0, 0) + frame(_HEADERS, 0x5, 1, head))
    async with asyncio.timeout(20):
        while True:
            length, kind = int.from_bytes(await reader.readexactly(3), "big"), (await reader.readexactly(6))[0]
            payload = await reader.readexactly(length)
            if kind == _HEADERS:
                break
    writer.close()
    # The static table's `:status 200`.
    assert payload[0] == 0x88


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.mark.parametrize("door", ["TENANTS", "OPERATORS", "ENROLMENT", "LINKS"])
async def test_tls_1_3_is_spoken_and_1_2_refused(platform: Platform, door: str) -> None:
    context, port = platform.trusting(), platform.gateway.ports[door]
    # Whence operators come, too.
    from_here = ("127.0.0.8", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=from_here)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    assert tls.version() == "TLSv1.3"
    writer.close()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=from_here)


async def test_operators_come_from_their_networks_alone(platform: Platform) -> None:
    async with platform.client("none", "127.0.0.8", "OPERATORS") as operator:
        assert (await operator.get("/healthz")).status_code == 200
    async with platform.client("none", "127.0.0.5", "OPERATORS") as stranger:
        with pytest.raises(httpx.TransportError):
            await stranger.get("/healthz")


async def test_one_address_holds_so_many_connections_and_no_more(platform: Platform) -> None:
    port = platform.gateway.ports["TENANTS"]
    opening = [asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.7", 0)) for _ in range(60)]
    opened = [each for each in await asyncio.gather(*opening, return_exceptions=True) if isinstance(each, tuple)]
    ends = [asyncio.ensure_future(_closed(reader)) for reader, _ in opened]
    # Who is refused hears it at once; of the others nobody says anything for ten seconds.
    await asyncio.wait(ends, timeout=2)
    async with platform.client("none") as other:
        assert (await other.get("/healthz")).status_code == 200
    assert sum(not end.done() for end in ends) == 50
    for _, writer in opened:
        writer.close()


async def _closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""


async def test_where_no_replica_is_the_gateway_tells_of_the_problem_as_one_would(
    platform: Platform, tmp_path: Path
) -> None:
    ports = {door: free_port() for door in DOORS}
    nobody = {backend: [f"127.0.0.1:{free_port()}"] for backend in BACKENDS}
    shown = platform.hub.authority.issue_server([], ["127.0.0.1"])
    async with (
        running_gateway(ports, shown, nobody, tmp_path) as gateway,
        httpx.AsyncClient(verify=platform.trusting()) as client,
    ):
        answer = await client.get(f"https://{gateway.address('TENANTS')}/api/v1/tenant")
    told = problem(answer, 503, Unavailable.slug)
    assert (told["title"], int(answer.headers["retry-after"]) > 0) == (Unavailable("").title, True)


# ---------------------------------------------------------------- agents


async def test_agents_link_through_it_and_link_again_when_their_hub_goes(
    platform: Platform,
) -> None:
    agents = [await agent(platform.hub, platform.tenant) for _ in range(2)]
    async with AsyncExitStack() as stack:
        # Of two links each hub has one, for the second goes where there are fewer.
        links = [await stack.enter_async_context(platform.hub.linked(each)) for each in agents]
        ends = [asyncio.ensure_future(link.ended_with()) for link in links]
        await platform.hubs[0].stop()
        done, pending = await asyncio.wait(ends, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert (len(done), len(pending)) == (1, 1)
        gone = agents[ends.index(done.pop())]
        again = await stack.enter_async_context(platform.hub.linked(gone))
        assert isinstance(again, AgentLink)
        pending.pop().cancel()


async def test_who_has_no_certificate_is_told_so_by_the_hub_itself_and_may_enrol(platform: Platform) -> None:
    async with platform.hub.enrolment_channel() as channel, asyncio.timeout(20):
        await channel.channel_ready()
    async with platform.hub.link_channel(None, None) as channel:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.channel_ready(), 2)


async def agent(hub: RunningHub, tenant: SomeTenant) -> Credentials:
    return await hub.credentials(tenant.id, await make_server(hub.database, tenant))


# ---------------------------------------------------------------- the files


async def test_haproxy_finds_no_fault_in_the_files(tmp_path: Path, platform: Platform) -> None:
    shown = platform.hub.authority.issue_server([], ["127.0.0.1"])
    environment = gateway_environment({door: free_port() for door in DOORS}, shown, tmp_path)
    files = [word for name in ("host.cfg", "gateway.cfg", "replicas.cfg") for word in ("-f", str(HAPROXY / name))]
    checked = await asyncio.create_subprocess_exec(
        "haproxy", "-c", *files, env={**os.environ, **environment}, stderr=asyncio.subprocess.PIPE
    )
    _, said = await checked.communicate()
    assert (checked.returncode, b"WARNING" in said) == (0, False), said.decode()


async def test_the_environment_names_what_the_configuration_reads() -> None:
    named = {
        line.partition("=")[0] for line in (HAPROXY / "gateway.env").read_text().splitlines() if "GATEWAY_" in line[:8]
    }
    read = {word.partition("}")[0] for word in (HAPROXY / "gateway.cfg").read_text().split("${")[1:]}
    assert named == read
