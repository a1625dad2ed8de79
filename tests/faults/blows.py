"""Strikes the faults. Each is undone when its call returns, also when cancelled; what is killed comes back itself."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from redis.asyncio import Redis

from tests.faults.ground import Ground
from tests.faults.plan import Blow, Fault

_AGENT = "penguin-agent"
_POSTFIX = "postfix@-"
_NFT_TABLE = "inet faults"
_CLOCK = "/run/faults-clock"
#: By how many times its duration a clock is off: from a few seconds up to ten leases.
_CLOCK_JUMP = 50
_STATE = "/var/lib/penguin-agent"
_SMALL = "/run/faults-disk"
_ROOM_KIB = 6 * 1024
#: Seconds for what was delivered to be logged.
_LAST_WORDS = 0.3
#: Seconds for a unit to start; it is tried again when that fails.
_START_SECONDS = 30
_MASTER_PID = "/var/spool/postfix/pid/master.pid"
_QUEUE = "/var/spool/postfix"
#: What is in Postfix's queue, and what it keeps of it. Others' sockets lie beside these.
_QUEUE_FOLDERS = ("incoming", "active", "deferred", "hold", "maildrop", "defer", "bounce", "trace", "corrupt")
#: As it takes mail only while there is room for one and a half of the largest message (smtpd(8)).
_QUEUE_ROOM_KIB = 24 * 1024
_AT_WORK = """
import os, pathlib, signal, sys, time
log, agent = "/var/log/mail.log", int(sys.argv[1])
logger = next(int(each.parent.name) for each in pathlib.Path("/proc").glob("[0-9]*/comm")
              if each.read_text() == "postlogd\\n")
end, deadline = os.stat(log).st_size + 8_000, time.monotonic() + 20
os.kill(agent, signal.SIGCONT)
while os.stat(log).st_size < end and time.monotonic() < deadline:
    time.sleep(0.002)
os.kill(logger, signal.SIGSTOP)
time.sleep(0.1)
os.kill(agent, signal.SIGSTOP)
time.sleep(0.7)
os.kill(agent, signal.SIGKILL)
time.sleep(6)
os.kill(logger, signal.SIGCONT)
"""


async def strike(ground: Ground, blow: Blow) -> None:
    """Let a fault happen and end."""
    await _STROKES[blow.fault](ground, blow.seconds)


# ---------------------------------------------------------------- processes of the control plane


async def _kill(name: str, ground: Ground, seconds: float) -> None:
    ground.process(name).kill()


async def _pause(name: str, ground: Ground, seconds: float) -> None:
    async with paused_process(ground, name):
        await asyncio.sleep(seconds)


@asynccontextmanager
async def paused_process(ground: Ground, name: str) -> AsyncIterator[None]:
    """Stop a process of the control plane while the block runs."""
    process = ground.process(name)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


async def _stop_postgres(ground: Ground, seconds: float) -> None:
    # Immediate shutdown: no checkpoint, and the next start recovers from the WAL.
    ground.daemon("postgres").send_signal(signal.SIGQUIT)


async def _kill_backend(ground: Ground, seconds: float) -> None:
    backends = [each for each in ground.daemon("postgres").children() if "penguin_" in " ".join(each.cmdline())]
    if backends:
        random.choice(backends).kill()  # noqa: S311 - whichever


async def _kill_redis(ground: Ground, seconds: float) -> None:
    ground.daemon("redis-server").kill()


async def _fill_redis(ground: Ground, seconds: float) -> None:
    async with Redis.from_url(ground.record.redis_url) as redis:
        before = str((await redis.config_get("maxmemory"))["maxmemory"])
        await redis.config_set("maxmemory", 1)
        try:
            await asyncio.sleep(seconds)
        finally:
            await redis.config_set("maxmemory", before)


async def _flush_redis(ground: Ground, seconds: float) -> None:
    await ground.flush_redis()


# ---------------------------------------------------------------- parts of the server


async def _signal_unit(unit: str, name: str, ground: Ground) -> None:
    await ground.inside("systemctl", "kill", "--kill-who=main", f"--signal={name}", unit, check=False)


async def _kill_agent(ground: Ground, seconds: float) -> None:
    await kill_agent(ground)


async def _pause_agent(ground: Ground, seconds: float) -> None:
    async with paused_agent(ground):
        await asyncio.sleep(seconds)


@asynccontextmanager
async def paused_agent(ground: Ground) -> AsyncIterator[None]:
    """Stop the agent while the block runs."""
    await _signal_unit(_AGENT, "STOP", ground)
    try:
        yield
    finally:
        await _signal_unit(_AGENT, "CONT", ground)


async def agent_killed_at_work(ground: Ground) -> None:
    """Let a stopped agent go on, and kill it as soon as Postfix has begun some of its messages.

    What Postfix did with those is told by its log alone, and that only when the next agent has been there for a while.
    All in one process on the server: the agent is done within a second.
    """
    pid = (await ground.inside("systemctl", "show", "--value", "--property=MainPID", _AGENT)).strip()
    await ground.inside("python3", "-c", _AT_WORK, pid)


async def kill_agent(ground: Ground) -> None:
    """Kill the agent; systemd starts it again."""
    await _signal_unit(_AGENT, "KILL", ground)


async def _kill_root_half(ground: Ground, seconds: float) -> None:
    raised = "UPDATE vps_servers SET desired_version = desired_version + 1 WHERE id = %s"
    server_id = ground.sender.server["id"]
    await ground.rows(raised, [server_id])
    await ground.rows("SELECT pg_notify('desired_state', %s)", [server_id])
    await asyncio.sleep(min(seconds, 1.0))
    await _signal_unit("penguin-configure", "KILL", ground)


async def _postfix_master(ground: Ground) -> str:
    """Return its process id, once it is there: it may just be starting after another blow."""
    async with asyncio.timeout(_START_SECONDS):
        while not (pid := (await ground.inside("cat", _MASTER_PID, check=False)).strip()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return pid


async def _kill_postfix(ground: Ground, seconds: float) -> None:
    await ground.inside("kill", "-KILL", await _postfix_master(ground), check=False)


async def _pause_postfix(ground: Ground, seconds: float) -> None:
    # Master alone: its children go on until they need it, as when the machine swaps.
    master = await _postfix_master(ground)
    await ground.inside("kill", "-STOP", master, check=False)
    try:
        await asyncio.sleep(seconds)
    finally:
        await ground.inside("kill", "-CONT", master, check=False)


# ---------------------------------------------------------------- power and network


async def _cut_power(ground: Ground, seconds: float) -> None:
    await ground.provider.power_off(ground.server_name)
    try:
        await asyncio.sleep(seconds / 3)
    finally:
        await ground.provider.power_on(ground.server_name)
        await ground.until_booted()


async def _cut_network(ground: Ground, seconds: float) -> None:
    await ground.provider.cut_network(ground.server_name)
    try:
        await asyncio.sleep(seconds)
    finally:
        await ground.provider.restore_network(ground.server_name)


async def _drop(hook: str, ground: Ground, seconds: float) -> None:
    """Drop what passes one way; what is on loopback goes on."""
    table, _, name = _NFT_TABLE.partition(" ")
    side = "iif" if hook == "input" else "oif"
    rules = f"""table {table} {name} {{
        chain drops {{ type filter hook {hook} priority 0; {side} != "lo" drop; }}
    }}"""
    await ground.inside("nft", "-f", "-", given=rules.encode())
    try:
        await asyncio.sleep(seconds)
    finally:
        await ground.inside("nft", "delete", "table", table, name)


# ---------------------------------------------------------------- clock and disk


async def _set_clock(direction: int, ground: Ground, seconds: float) -> None:
    """Set the agent's wall clock ahead or behind by more than a lease, and back."""
    offset = direction * _CLOCK_JUMP * seconds
    await ground.inside("tee", _CLOCK, given=f"{offset:.3f}".encode())
    try:
        await asyncio.sleep(seconds)
    finally:
        await ground.inside("rm", "-f", _CLOCK)


async def _fill_disk(ground: Ground, seconds: float) -> None:
    """Move the agent's state to a disk that is nearly full, fill it, make room, and move it back."""
    async with _small_disk(ground, _AGENT, _STATE, _ROOM_KIB):
        await _fill(ground, _STATE, seconds)


async def _fill_queue_disk(ground: Ground, seconds: float) -> None:
    """Move Postfix's queue to a disk that is nearly full, and fill it while Postfix takes mail; then undo that.

    Its queue ids are the long ones, which a file keeps when it is moved (postsuper(1)).
    """
    async with _small_disk(ground, _POSTFIX, _QUEUE, _QUEUE_ROOM_KIB, _QUEUE_FOLDERS):
        await _until_active(ground, _POSTFIX)
        # What waited meanwhile goes in, and the disk fills up under it.
        await asyncio.sleep(seconds / 10)
        await _fill(ground, _QUEUE, seconds)
    await _until_active(ground, _POSTFIX)


async def _stop(ground: Ground, unit: str) -> None:
    """Stop a unit; Postfix while nothing can be delivered.

    It ends its log writer with the rest, and what a delivery that is under way then comes to stays unsaid for a week.
    """
    if unit != _POSTFIX:
        await ground.inside("systemctl", "stop", unit)
        return
    await ground.provider.cut_network(ground.server_name)
    try:
        await asyncio.sleep(_LAST_WORDS)
        await ground.inside("systemctl", "stop", unit)
    finally:
        await ground.provider.restore_network(ground.server_name)


async def _until_active(ground: Ground, unit: str) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while (await ground.inside("systemctl", "is-active", unit, check=False)).strip() != "active":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _fill(ground: Ground, place: str, seconds: float) -> None:
    await ground.inside("dd", "if=/dev/zero", f"of={place}/filler", "bs=4k", check=False)
    await asyncio.sleep(seconds)
    await ground.inside("rm", f"{place}/filler")


@asynccontextmanager
async def _small_disk(
    ground: Ground, unit: str, place: str, room_kib: int, folders: Sequence[str] = (".",)
) -> AsyncIterator[None]:
    """Have a unit's files on a disk of their own while the block runs; of those, `folders` are kept afterwards."""
    await _stop(ground, unit)
    used = int((await ground.inside("du", "-sk", place)).split()[0])
    await ground.inside("mkdir", "-p", _SMALL)
    await ground.inside("mount", "-t", "tmpfs", "-o", f"mode=0700,size={used + room_kib}k", "faults", _SMALL)
    await ground.inside("cp", "-aT", place, _SMALL)
    await ground.inside("mount", "--bind", _SMALL, place)
    await ground.inside("systemctl", "start", "--no-block", unit)
    try:
        yield
    finally:
        await _stop(ground, unit)
        await ground.inside("umount", place)
        for folder in folders:
            await ground.inside("find", f"{place}/{folder}", "-mindepth", "1", "-delete")
            await ground.inside("cp", "-aT", f"{_SMALL}/{folder}", f"{place}/{folder}")
        await ground.inside("umount", _SMALL)
        await ground.inside("systemctl", "start", "--no-block", unit)


_STROKES: Mapping[Fault, Callable[[Ground, float], Awaitable[None]]] = {
    Fault.KILL_API: partial(_kill, "api"),
    Fault.PAUSE_API: partial(_pause, "api"),
    Fault.KILL_HUB: partial(_kill, "hub"),
    Fault.PAUSE_HUB: partial(_pause, "hub"),
    Fault.KILL_QUEUER: partial(_kill, "queuer"),
    Fault.PAUSE_QUEUER: partial(_pause, "queuer"),
    Fault.KILL_WORKER: partial(_kill, "worker"),
    Fault.PAUSE_WORKER: partial(_pause, "worker"),
    Fault.KILL_AGENT: _kill_agent,
    Fault.PAUSE_AGENT: _pause_agent,
    Fault.KILL_ROOT_HALF: _kill_root_half,
    Fault.KILL_POSTFIX: _kill_postfix,
    Fault.PAUSE_POSTFIX: _pause_postfix,
    Fault.STOP_POSTGRES: _stop_postgres,
    Fault.KILL_BACKEND: _kill_backend,
    Fault.KILL_REDIS: _kill_redis,
    Fault.FLUSH_REDIS: _flush_redis,
    Fault.FILL_REDIS: _fill_redis,
    Fault.CUT_POWER: _cut_power,
    Fault.CUT_NETWORK: _cut_network,
    Fault.DEAFEN: partial(_drop, "input"),
    Fault.MUTE: partial(_drop, "output"),
    Fault.CLOCK_AHEAD: partial(_set_clock, 1),
    Fault.CLOCK_BEHIND: partial(_set_clock, -1),
    Fault.FILL_DISK: _fill_disk,
    Fault.FILL_QUEUE_DISK: _fill_queue_disk,
}

STRIKABLE = tuple(_STROKES)
