"""`postfix`: what Postfix delivers as the product configures it, beside Debian's default configuration.

Debian's is what installing the package wrote: it lies in the servers' image, as it was before the product's own came in
its place. Both run in the same server, one beside the other, each with a queue of its own on the same disk and with a
log file; smtp-source feeds one at a time. Debian's has no injection port: its smtpd listens on another, on loopback.

smtp-source connects for each message; the agent does not. So each is fed in both ways.
"""

import asyncio
import subprocess
import time
from pathlib import Path

from control_plane.processes.places import HOME
from control_plane.providers.local.image import image_root
from control_plane.providers.local.recipes import BOOKWORM
from tests.bench.ground import INJECTION_PORT, Deliveries, Ground, running_ground
from tests.bench.report import Goal, Rounds
from tests.bench.text import SIZE

_SENDS = 2000
_PORT = 10125
_KEPT = ", sessions kept"
_FOLDER = "etc/postfix-debian"
_LOG = "var/log/mail-debian.log"
#: What an instance beside another must have of its own, and a log file.
_OWN = f"""
queue_directory = /var/spool/postfix-debian
data_directory = /var/lib/postfix-debian
maillog_file = /{_LOG}
multi_instance_name = postfix-debian
"""
#: Files that Debian's start script copies for services in a chroot.
_CHROOT = ("resolv.conf", "services", "hosts", "nsswitch.conf", "localtime")


async def measure(rounds: int) -> Rounds:
    result = Rounds()
    async with running_ground() as ground:
        # It reads the shipped one's log and not the other's.
        ground.run("systemctl", "stop", "penguin-agent.service")
        _start_default(ground)
        try:
            for _ in range(rounds):
                for way, kept in (("", False), (_KEPT, True)):
                    for name, port, log in (("shipped", INJECTION_PORT, "var/log/mail.log"), ("default", _PORT, _LOG)):
                        delivered = await _delivered(ground, port, ground.root / log, kept=kept)
                        result.add(f"{name}{way}, delivered/s", delivered)
        finally:
            ground.run("postfix", "-c", f"/{_FOLDER}", "stop")
    result.compare("shipped ÷ Debian's default", "shipped, delivered/s", "default, delivered/s", Goal(1.15))
    result.compare(f"the same{_KEPT}", f"shipped{_KEPT}, delivered/s", f"default{_KEPT}, delivered/s")
    result.notes.append(
        f"{_SENDS} messages of 5 KB by smtp-source, ten sessions; both unsigned, with a log file, agent stopped"
    )
    return result


def _start_default(ground: Ground) -> None:
    """Make and start the second instance."""
    debian, folder = image_root(BOOKWORM, HOME / "images") / "etc/postfix", ground.root / _FOLDER
    spool = ground.root / "var/spool/postfix-debian"
    folder.mkdir()
    (spool / "etc").mkdir(parents=True)
    (ground.root / "var/lib/postfix-debian").mkdir()
    ground.run("chown", "postfix", "/var/lib/postfix-debian")
    (folder / "main.cf").write_text((debian / "main.cf").read_text() + _OWN)
    services = (debian / "master.cf").read_text().replace("\nsmtp      inet", f"\n127.0.0.1:{_PORT} inet", 1)
    (folder / "master.cf").write_text(services)
    (folder / "dynamicmaps.cf").write_bytes((debian / "dynamicmaps.cf").read_bytes())
    for name in _CHROOT:
        source = ground.root / "etc" / name
        if source.exists():
            (spool / "etc" / name).write_bytes(source.read_bytes())
    ground.run("postfix", "-c", f"/{_FOLDER}", "start")
    (ground.root / _LOG).touch()


async def _delivered(ground: Ground, port: int, log: Path, *, kept: bool) -> float:
    deliveries = Deliveries(log)
    started = time.perf_counter()
    command = ground.source(_SENDS, SIZE, port, kept=kept)
    source = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    ended = await deliveries.until(_SENDS)
    await source.wait()
    return _SENDS / (ended - started)
