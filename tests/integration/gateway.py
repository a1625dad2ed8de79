"""A real HAProxy with the files of deploy/haproxy, and real processes of ours behind it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from control_plane.enrolment.authority import ServerCertificate

CHECKOUT = Path(__file__).parents[2]
HAPROXY = CHECKOUT / "deploy" / "haproxy"
BACKENDS = ("tenants", "operators", "enrolment", "links", "downloads")
DOORS = ("TENANTS", "OPERATORS", "ENROLMENT", "LINKS", "DOWNLOADS")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Replica:
    """One process of ours that can be stopped and started again at the same place."""

    module: str
    environment: Mapping[str, str]
    folder: Path
    #: Where a REST door listens; a hub opens its own.
    port: int | None = None
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when it says that it serves."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024) if self.port else None
        fds = [listener.fileno()] if listener else []
        path = self.folder / f"ready-{id(self)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ready:
            ready.bind(str(path))
            doors = dict.fromkeys(("PENGUIN_REST_FDS", "PENGUIN_SUBMISSION_FDS"), ",".join(map(str, fds)))
            told = {"NOTIFY_SOCKET": str(path), **doors}
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"control_plane.processes.{self.module}"),
                cwd=CHECKOUT,
                env={**os.environ, **self.environment, **told},
                stdout=subprocess.DEVNULL,
                pass_fds=fds,
            )
            async with asyncio.timeout(60):
                assert await asyncio.get_running_loop().sock_recv(ready, 100) == b"READY=1"
        path.unlink()
        # Ours would keep the port open when the replica has closed it.
        if listener:
            listener.close()

    async def stop(self) -> None:
        """End it in order, and see that it does."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                assert await self.process.wait() in {0, -signal.SIGTERM}
            self.process = None


@dataclass(frozen=True)
class Gateway:
    """Where the running gateway listens, by door, and where it says how its replicas are."""

    ports: Mapping[str, int]
    folder: Path

    def address(self, door: str) -> str:
        return f"127.0.0.1:{self.ports[door]}"

    async def until_used(self, backend: str, server: str) -> None:
        """Return when it sends requests to this replica, as whoever changes one after the other waits for."""
        async with asyncio.timeout(30):
            while True:
                if f"\n{backend},{server}," in await self._serving():
                    return
                await asyncio.sleep(0.05)

    async def _serving(self) -> str:
        """Return the lines of `show stat` of what is up."""
        reader, writer = await asyncio.open_unix_connection(admin_socket(self.folder))
        writer.write(b"show stat\n")
        lines = (await reader.read()).decode().splitlines()
        writer.close()
        return "\n" + "\n".join(line for line in lines if ",UP," in line)


def admin_socket(folder: Path) -> Path:
    """Return where a gateway that has its files here says how it is."""
    return folder / "admin.sock"


def gateway_environment(ports: Mapping[str, int], shown: ServerCertificate, folder: Path) -> dict[str, str]:
    """Write what the gateway's environment names, and return that environment."""
    (folder / "rest.pem").touch(mode=0o600)
    (folder / "rest.pem").write_bytes(shown.certificate_pem + shown.private_key_pem)
    (folder / "operators.networks").write_text("127.0.0.8/32\n")
    return {
        **{f"GATEWAY_{door}": f"127.0.0.1:{port}" for door, port in ports.items()},
        "GATEWAY_CERTIFICATE": str(folder / "rest.pem"),
        "GATEWAY_OPERATORS_NETWORKS": str(folder / "operators.networks"),
        "GATEWAY_CONNECTION_RATE": "200",
        "GATEWAY_CONNECTIONS": "50",
    }


def replicas_cfg(servers: Mapping[str, Sequence[str]]) -> str:
    """Return the shipped replicas.cfg with these servers, each an address and what the shipped line says after it."""
    lines = []
    for line in (HAPROXY / "replicas.cfg").read_text().splitlines():
        words = line.split()
        if words[:1] == ["backend"]:
            lines.append(line)
            lines += [f"    server {words[1]}{number} {entry}" for number, entry in enumerate(servers[words[1]])]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def running_gateway(
    ports: Mapping[str, int], shown: ServerCertificate, servers: Mapping[str, Sequence[str]], folder: Path
) -> AsyncIterator[Gateway]:
    """Run HAProxy until left."""
    environment = {**os.environ, **gateway_environment(ports, shown, folder)}
    (folder / "replicas.cfg").write_text(replicas_cfg(servers))
    # As in host.cfg, whose user and chroot are the host's.
    (folder / "host.cfg").write_text(f"global\n    stats socket {admin_socket(folder)} mode 600 level admin\n")
    files = [word for name in ("host.cfg", "replicas.cfg") for word in ("-f", str(folder / name))]
    files[2:2] = ["-f", str(HAPROXY / "gateway.cfg")]
    process = await asyncio.create_subprocess_exec("haproxy", "-db", *files, env=environment)
    try:
        await _all_open(ports)
        yield Gateway(ports, folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _all_open(ports: Mapping[str, int]) -> None:
    """Return when every door takes connections: HAProxy says so nowhere but to systemd."""
    async with asyncio.timeout(20):
        for port in ports.values():
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
                    continue
                except ConnectionResetError:
                    # It listens, and lets nobody in from here.
                    break
                writer.close()
                break
