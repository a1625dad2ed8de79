"""A whole installation on one machine: what `penguin up` and `penguin demo` run.

Everything lives in the local world, a network namespace with no way out: PostgreSQL, Redis, the local cloud and the
control plane's processes. This process alone stays outside. It owns the others, starts again what dies, and takes all
down in order when it is left; when it is killed, the kernel ends the others.

The ways in are REST ports on 127.0.0.1, the tenants' and the operators': sockets opened here and handed to the api
process and to the operators' process.

SECURITY: needs root, for the namespace and the servers. Files with secrets are of mode 0600 in folders of mode 0700.
"""

import asyncio
import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from control_plane.abandonable import abandonable
from control_plane.embedded.installation_record import (
    InstallationRecord,
    mark_of,
    remove_records,
    write_process,
    write_record,
)
from control_plane.embedded.redis import RedisTls
from control_plane.enrolment.authority import Authority
from control_plane.enrolment.wheelhouse import build
from control_plane.errors import Conflict, Forbidden, Unavailable
from control_plane.processes.child import Child, ChildOrder
from control_plane.processes.children import Listening, cloud_order, process_orders
from control_plane.processes.database import brought_database, private_database
from control_plane.processes.database_roles import DatabaseUrls
from control_plane.processes.keeper import Keepable, keep_running
from control_plane.processes.places import CHECKOUT, HOME, Places, state_dir
from control_plane.processes.progress import Progress
from control_plane.processes.redis import brought_redis, private_redis
from control_plane.providers.local.acme_authority import ACME_DIRECTORY, acme_roots, issuing_roots
from control_plane.providers.local.image import bake
from control_plane.providers.local.nameserver import nameserver_api_key
from control_plane.providers.local.recipes import BOOKWORM
from control_plane.providers.local.world import World
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database

DEFAULT_REST_PORT = 8025
DEFAULT_OPERATOR_PORT = 8026
_LOOPBACK = "127.0.0.1"
#: Where we answer in the world when servers try whether mail can leave them.
_PORT_CHECK = "10.77.0.1:25"


class Installation:
    """One installation of this checkout; runs while its context is open.

    A port that is 0 takes any free one; with no `operator_port` there is no door for operators. Opening raises
    `Conflict` when it runs already or a port is taken, `Forbidden` without root, and `Unavailable`, `EmbeddedFailed` or
    `ProviderError` when a part does not start.
    """

    def __init__(
        self,
        instance: str,
        rest_port: int,
        progress: Progress,
        home: Path = HOME,
        *,
        operator_port: int | None = None,
    ) -> None:
        self._progress = progress
        self._rest_port = rest_port
        self._operator_port = operator_port
        self._stack = AsyncExitStack()
        state = state_dir(instance, home)
        self._world = World(state)
        self._places = Places(state, self._world.id, wheelhouse=home / "wheelhouse", images=home / "images")
        self._record: InstallationRecord | None = None

    @property
    def record(self) -> InstallationRecord:
        """How the running installation is reached."""
        if self._record is None:
            raise Unavailable("the installation does not run")
        return self._record

    async def __aenter__(self) -> Self:
        if os.geteuid() != 0:
            raise Forbidden("an installation needs root, for the network namespace and the local servers")
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.detail("stopping")
        await self._stack.aclose()
        self._progress.step("stopped; nothing is left running")

    async def _start(self) -> None:
        places = self._places
        places.make()
        self._stack.enter_context(_only_one(places.lock))
        write_process(places.state)
        self._stack.callback(remove_records, places.state)
        self._stack.callback(shutil.rmtree, places.runtime)
        rest = self._listen(self._rest_port, "--port")
        operators = None if self._operator_port is None else self._listen(self._operator_port, "--operator-port")
        wheelhouse = self._in_background(abandonable(partial(build, CHECKOUT, places.wheelhouse)))
        image = self._in_background(abandonable(partial(bake, BOOKWORM, places.images, self._bake_progress())))
        await asyncio.to_thread(self._world.create)
        self._stack.push_async_callback(asyncio.to_thread, self._world.destroy)
        settings, outside = await self._start_stores()
        self._progress.detail("the agent's wheelhouse")
        await wheelhouse
        self._progress.detail("the servers' image")
        await image
        await self._start_children(
            [
                cloud_order(places, self._world.enter),
                *process_orders(places, self._world.enter, settings, rest, operators),
            ]
        )
        self._record = InstallationRecord(
            process=mark_of(os.getpid()),
            rest_url=_url(rest),
            operator_url=_url(operators) if operators else None,
            enter=tuple(self._world.enter),
            system_database_url=outside.system,
            redis_url=settings.redis_url.get_secret_value(),
        )
        write_record(places.state, self._record)
        self._progress.step(f"the API answers at {self._record.rest_url}")
        if self._record.operator_url:
            self._progress.step(f"the operators' API answers at {self._record.operator_url}")

    def _listen(self, port: int, option: str) -> Listening:
        """Open a REST door's socket, until we are left; raise `Conflict` for a port that `option` should change."""
        listener = self._stack.enter_context(_loopback_socket(port, option))
        return Listening(listener.fileno(), listener.getsockname()[1])

    # ------------------------------------------------------------ PostgreSQL and Redis

    async def _start_stores(self) -> tuple[Settings, DatabaseUrls]:
        """Start or reach both; return the processes' settings, and the database's URLs as they are out here."""
        inside, outside = await self._start_database()
        settings = Settings(
            state_dir=self._places.state,
            wheelhouse_dir=self._places.wheelhouse,
            api_database_url=SecretStr(inside.api),
            system_database_url=SecretStr(inside.system),
            identity_database_url=SecretStr(inside.identity),
            # Whoever brings a database backs it up.
            owner_database_url=SecretStr("" if "PENGUIN_DATABASE_URL" in os.environ else outside.owner),
            redis_url=SecretStr(""),
            local_cloud_socket=self._places.cloud_socket,
            port25_probe=(_PORT_CHECK,),
            port25_listen=_PORT_CHECK,
            powerdns_api_key=SecretStr(nameserver_api_key(self._places.state)),
            acme_directory=ACME_DIRECTORY,
            acme_roots_file=acme_roots(self._places.state),
            mail_roots_file=issuing_roots(self._places.state),
        )
        door = await self._make_redis_door(settings, outside.system)
        redis_url = await self._start_redis(door)
        return settings.model_copy(update={"redis_url": SecretStr(redis_url)}), outside

    async def _start_database(self) -> tuple[DatabaseUrls, DatabaseUrls]:
        """Return the URLs inside the world and out here."""
        if owner_url := os.environ.get("PENGUIN_DATABASE_URL"):
            outside, inside = await brought_database(owner_url, self._places, self._world, self._stack)
            self._progress.step("the database of PENGUIN_DATABASE_URL is migrated")
            return inside, outside
        self._progress.detail("PostgreSQL")
        urls, postgres = await private_database(self._places, self._world, self._stack)
        self._keep("PostgreSQL", postgres)
        self._progress.step("PostgreSQL runs and is migrated")
        return urls, urls

    async def _make_redis_door(self, settings: Settings, system_url: str) -> RedisTls:
        """Issue the certificate of the agents' Redis endpoint, making the authority first if there is none."""
        sealer = Sealer.of_file(settings.sealing_key_file)
        database = Database(system_url, pool_size=1)
        try:
            async with database.system() as session:
                authority = await Authority.load_or_create(session, sealer, settings.trust_domain)
        finally:
            await database.close()
        address, _, port = settings.redis_agent_endpoint.rpartition(":")
        issued = authority.issue_server([], [address])
        certificate, key = self._places.certificates / "redis.pem", self._places.certificates / "redis.key"
        certificate.write_bytes(issued.certificate_pem)
        key.touch(mode=0o600)
        key.write_bytes(issued.private_key_pem)
        return RedisTls(certificate, key, address, int(port))

    async def _start_redis(self, door: RedisTls) -> str:
        """Return the URL that works inside the world."""
        if url := os.environ.get("PENGUIN_REDIS_URL"):
            return await brought_redis(url, self._world, door, self._stack)
        redis = private_redis(self._places, self._world, door, self._stack)
        self._keep("Redis", redis)
        self._progress.step("Redis runs")
        return redis.url

    # ------------------------------------------------------------ what runs beside

    async def _start_children(self, orders: list[ChildOrder]) -> None:
        """Start all at once; they are ended together, the cloud like the others, before what they use."""
        children = [Child(order, self._progress.step) for order in orders]
        self._stack.push_async_callback(_stop_all, children)
        self._progress.detail(f"starting {', '.join(order.name for order in orders)}")
        await asyncio.gather(*(child.start() for child in children))
        self._progress.step(f"running: {', '.join(order.name for order in orders)}")

    def _keep(self, name: str, daemon: Keepable) -> None:
        self._in_background(keep_running(name, daemon, self._progress))

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that is cancelled, at the latest, when what was started after it has been taken down."""
        task = asyncio.create_task(work)
        self._stack.push_async_callback(_cancel, task)
        return task

    def _bake_progress(self) -> Callable[[str], None]:
        """Return what the baking thread may call."""
        loop = asyncio.get_running_loop()

        def tell(line: str) -> None:
            loop.call_soon_threadsafe(self._progress.detail, f"baking the servers' image (once): {line}")

        return tell


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("this installation runs already; `penguin down` ends it") from None
        yield


@contextmanager
def _loopback_socket(port: int, option: str) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((_LOOPBACK, port))
    except OSError as error:
        raise Conflict(f"port {port} cannot be used: {error.strerror}; choose another with {option}") from None
    with listener:
        yield listener


def _url(listening: Listening) -> str:
    return f"http://{_LOOPBACK}:{listening.port}"


async def _stop_all(children: list[Child]) -> None:
    await asyncio.gather(*(child.stop() for child in children))


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    # Its failure, if it has one, was told where it was awaited.
    await asyncio.gather(task, return_exceptions=True)
