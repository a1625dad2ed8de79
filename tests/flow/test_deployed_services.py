"""A deployment by deploy/README.md: its files, commands and services, on a PostgreSQL and a Redis of its own.

systemd itself checks the unit files; each service then runs as its unit says, as nobody and without capabilities.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from redis.exceptions import NoPermissionError

from control_plane.embedded.daemon import Daemon, answers
from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.processes.outside import carried
from control_plane.queuer.access import grant, revoke_others, username
from control_plane.queuer.streams import connect
from tests.flow.unit_files import CHECKOUT, HARDENING, NOBODY, UNITS, Service, as_nobody, give_credentials, running
from tests.integration.submission.certificate import make_certificate

DEPLOY = CHECKOUT / "deploy"
#: The deployment is made once; that takes as long as its commands take to start.
DEPLOYED = pytest.mark.asyncio(loop_scope="module")
#: What the backups process does once a day, and once a week, without the minute that it waits before each.
COPY_AND_TRY = """
import json
import psycopg
from control_plane.backups.digest import digest
from control_plane.processes.backups import Backups
from control_plane.settings import Settings

class Twice:
    looks = 0

    def wait(self, seconds):
        self.looks += 1
        return self.looks > 2

settings = Settings.model_validate({})
Backups(settings).run(Twice())
with psycopg.connect(settings.owner_database_url.get_secret_value()) as connection:
    came = connection.execute("SELECT kind, ok, sentence FROM backup_results ORDER BY ended_at").fetchall()
    print(json.dumps([digest(connection)["tenants"].rows, came]))
"""
SERVICES = [Service.read(unit) for unit in sorted(UNITS.glob("*.service"))]
NAMES = [unit.name.replace("@.", "@8025.") for unit in sorted(UNITS.glob("penguinmails*.*")) if unit.is_file()]
PASSWORD = "a-password-of-redis"


# ---------------------------------------------------------------- what systemd says


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with the unit files and what they start."""
    shutil.copytree(UNITS, tmp_path / "etc" / "systemd" / "system")
    program = tmp_path / SERVICES[0].command[0].removeprefix("/")
    program.parent.mkdir(parents=True)
    shutil.copy("/bin/true", program)
    return tmp_path


def analyze(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", f"--root={root}", "--man=no", "--recursive-errors=no", "--no-pager", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_finds_no_fault_in_the_units(root: Path) -> None:
    verified = analyze(root, "verify", *NAMES)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_systemd_does_find_a_fault_where_there_is_one(root: Path) -> None:
    unit = root / "etc" / "systemd" / "system" / "penguinmails-hub.service"
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nRestrat=always"))
    assert "Restrat" in analyze(root, "verify", unit.name).stderr


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".service")])
def test_a_service_is_exposed_to_little(root: Path, name: str) -> None:
    judged = analyze(root, "security", "--offline=true", "--threshold=15", name)
    assert judged.returncode == 0, judged.stdout


def test_without_the_hardening_it_would_be_exposed(root: Path) -> None:
    (root / "etc" / "systemd" / "system" / HARDENING.relative_to(UNITS)).unlink()
    assert analyze(root, "security", "--offline=true", "--threshold=15", "penguinmails-hub.service").returncode != 0


# ---------------------------------------------------------------- a deployment


@dataclass(frozen=True, slots=True)
class Deployment:
    """The credentials that the commands wrote, and settings that are this machine's own."""

    credentials: Path
    settings: Mapping[str, str]
    redis_url: str


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that nobody can pass through."""
    with tempfile.TemporaryDirectory(prefix="penguin-deploy-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(home: Path) -> AsyncIterator[Deployment]:
    postgres = EmbeddedPostgres(home / "data", home / "sockets")
    postgres.start()
    async with AsyncExitStack() as stack:
        stack.callback(postgres.stop)
        roles = ("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(DEPLOY / "postgresql" / "roles.sql"))
        await run({}, *roles, postgres.url(OWNER, "postgres"))
        database = await stack.enter_async_context(by_tcp(home / "sockets" / ".s.PGSQL.5432"))
        # Nobody else may be given the port before Redis has it.
        reserved = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        door = reserved.getsockname()[1]
        redis_url = f"rediss://penguinmails:{PASSWORD}@127.0.0.1:{door}?ssl_ca_certs={home}/authority.pem"
        urls = {
            "PENGUIN_DATABASE_URL": f"postgresql://penguinmails_owner@127.0.0.1:{database}/penguinmails",
            "PENGUIN_REDIS_URL": redis_url,
        }
        await penguin(urls, "database", "upgrade")
        credentials = home / "credentials"
        await penguin(urls, "deploy", "credentials", "--into", str(credentials))
        backups_url = f"postgresql://penguinmails_backups@127.0.0.1:{database}/penguinmails"
        (credentials / "penguinmails-backups" / "owner_database_url").write_text(backups_url)
        system_url = (credentials / "penguinmails-hub" / "system_database_url").read_text()
        await penguin({"PENGUIN_SYSTEM_DATABASE_URL": system_url}, "tenant", "create", "Acme", "--instance", "deployed")
        certificate = ("--into", str(home), "--given", str(credentials))
        await penguin({}, "deploy", "redis-certificate", f"127.0.0.1:{door}", *certificate)
        reserved.close()
        redis = start_redis(home, door)
        stack.callback(redis.stop, signal.SIGTERM, 10)
        wheels = {"PENGUIN_WHEELHOUSE_DIR": str(home / "run")}
        yield Deployment(credentials, {**settings_of(f"127.0.0.1:{door}"), **wheels}, redis_url)


async def penguin(environment: Mapping[str, str], *words: str) -> None:
    """Run a command of ours, as the README says."""
    await run(environment, sys.executable, "-m", "control_plane.cli.main", *words)


async def run(environment: Mapping[str, str], *command: str) -> None:
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PENGUIN_")}
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, env={**outer, **environment})
    assert await process.wait() == 0


@asynccontextmanager
async def by_tcp(unix_socket: Path) -> AsyncIterator[int]:
    """Carry a port of loopback, which nobody's processes can reach, to a socket that they cannot."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    async with carried(listener, lambda: asyncio.open_unix_connection(str(unix_socket))):
        yield port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def start_redis(home: Path, port: int) -> Daemon:
    """Start Redis with deploy/redis, but for its places."""
    (home / "run").mkdir()
    users = (DEPLOY / "redis" / "users.acl").read_text()
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    (home / "users.acl").write_text(users.replace("REPLACE_WITH_SHA256_OF_THE_PASSWORD", digest))
    conf = (DEPLOY / "redis" / "redis.conf").read_text()
    for there, here in {
        "/etc/redis/tls": home,
        "/etc/redis": home,
        "/run/redis": home / "run",
        "/var/lib/redis": home / "run",
        "bind * -::*": "bind 127.0.0.1",
        "7379": port,
        "supervised systemd": "supervised no",
    }.items():
        assert there in conf
        conf = conf.replace(there, str(here))
    (home / "redis.conf").write_text(conf)
    redis = Daemon("Redis", ["redis-server", str(home / "redis.conf")], home / "redis.log")
    redis.wait_until(lambda: answers(home / "run" / "redis.sock"), 20)
    return redis


def settings_of(redis_endpoint: str) -> dict[str, str]:
    """Return the environment file's settings, with this machine's addresses."""
    settings = dict(re.findall(r"^(PENGUIN_[A-Z0-9_]+)=(.*)$", (DEPLOY / "environment").read_text(), re.MULTILINE))
    doors = ("PENGUIN_ENROL_LISTEN", "PENGUIN_LINK_LISTEN", "PENGUIN_DOWNLOADS_LISTEN")
    return {
        **settings,
        **{door: f"127.0.0.1:{free_port()}" for door in doors},
        "PENGUIN_REDIS_AGENT_ENDPOINT": redis_endpoint,
        "PENGUIN_NAMESERVERS": '["127.0.0.1"]',
        "PENGUIN_POWERDNS_URL": "https://127.0.0.1:1",
    }


@DEPLOYED
async def test_every_service_serves_and_ends_as_its_unit_says(deployment: Deployment, home: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        for service in SERVICES:
            place = home / service.name
            place.mkdir(mode=0o755)
            give_credentials(place / "credentials", deployment.credentials / service.name)
            said = set(service.values("Environment"))
            serves = next((how for kind, how in SERVES.items() if kind in said), serves_as_nobody)
            tasks.create_task(serves(service, place, deployment.settings), name=service.name)


async def serves_rest(service: Service, place: Path, settings: Mapping[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with running(service, place, settings, listener), httpx.AsyncClient(timeout=60) as client:
            answer = await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/healthz")
            assert answer.json() == {"status": "ok"}


async def serves_smtp(service: Service, place: Path, settings: Mapping[str, str]) -> None:
    chain, key = make_certificate(place)
    key.chmod(0o644)
    given = {"CERTIFICATE_FILE": str(chain), "KEY_FILE": str(key), "FDS": "3"}
    ours = {**settings, **{f"PENGUIN_SUBMISSION_{name}": value for name, value in given.items()}}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with running(service, place, ours, listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            assert (await reader.readline()).startswith(b"220 submission.")
            writer.close()


#: By what its environment says; all others say that they serve, and that is it.
SERVES = {"PENGUIN_REST_FDS=3": serves_rest, "PENGUIN_SUBMISSION_FDS=3,4": serves_smtp}


async def serves_as_nobody(service: Service, place: Path, settings: Mapping[str, str]) -> None:
    async with running(service, place, settings) as process:
        assert user_of(process.pid) == {NOBODY}


@pytest.mark.timeout(300)
@DEPLOYED
async def test_the_backups_service_copies_all_of_the_database_and_starts_the_copy(
    deployment: Deployment, home: Path
) -> None:
    (service,) = (each for each in SERVICES if each.name == "penguinmails-backups")
    place = home / "copied"
    place.mkdir(mode=0o755)
    service.make_state(place)
    give_credentials(place / "credentials", deployment.credentials / service.name)
    process = await asyncio.create_subprocess_exec(
        *as_nobody([service.command[0], "-c", COPY_AND_TRY], None),
        env=service.environment(place, deployment.settings),
        stdout=subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    seen, (copy, tried) = json.loads(said)
    # A role that does not see past row-level security would find no tenant.
    assert seen == 1
    assert copy[:2] == ["copy", True]
    assert tried[:2] == ["restore_test", True]
    assert re.search(r"[1-9]\d+ tables with \d+ rows are as they were$", tried[2])


def user_of(pid: int) -> set[int]:
    """Return a process's user ids: real, effective, saved and of files."""
    (line,) = re.findall(r"^Uid:\s+(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return {int(number) for number in line.split()}


@DEPLOYED
async def test_redis_lets_the_control_plane_grant_and_revoke_and_nothing_that_is_the_operators(
    deployment: Deployment,
) -> None:
    server = uuid.uuid4()
    redis = connect(deployment.redis_url)
    try:
        await grant(redis, [server], "127.0.0.1:1", b"")
        assert username(server) in await redis.acl_users()
        await revoke_others(redis, _nobody)
        assert username(server) not in await redis.acl_users()
        for command in ("CONFIG GET dir", "SHUTDOWN NOSAVE", "FLUSHALL", "KEYS *", "REPLICAOF NO ONE"):
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command.split())  # type: ignore[no-untyped-call] # redis-py's
    finally:
        await redis.aclose()


async def _nobody() -> set[uuid.UUID]:
    return set()
