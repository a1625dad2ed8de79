"""The server as an upgrade changes it: releases side by side, two links, and systemd."""

import datetime as dt
import shutil
import subprocess
from pathlib import Path

from agent.journal.schema import READABLE
from agent.units import bootstrap
from agent.upgrade.carry_out import Refused
from agent.upgrade.judge import Look, Sight, fault_of
from agent.upgrade.order import SignedManifest
from agent.upgrade.signed import NotSigned, verify

AGENT_UNIT = "penguin-agent.service"
UPGRADE_UNIT = "penguin-upgrade.service"
#: Seconds to go on trying when the downloads door does not answer.
_PATIENCE = 120.0
_ASK_SCHEMA = "from agent.journal.schema import SCHEMA_VERSION; print(SCHEMA_VERSION)"


class Server:
    """Our own one."""

    def current(self) -> str:
        """Return the name of the release that is switched to."""
        return (bootstrap.INSTALL_DIR / "current").readlink().name

    def good(self) -> str:
        """Return the name of the release whose code does upgrades."""
        return (bootstrap.INSTALL_DIR / "good").readlink().name

    def adopt(self, release: str) -> None:
        """Let a release do upgrades from now on."""
        bootstrap.install_units(_folder(release), [UPGRADE_UNIT])
        bootstrap.point("good", _folder(release))
        bootstrap.run(["systemctl", "daemon-reload"])

    def install(self, release: str, wanted: SignedManifest) -> None:
        """Fetch and verify a release and make it ready. Raises `Refused`."""
        try:
            config = bootstrap.read_config(bootstrap.CONFIG_DIR / "bootstrap.json")
            authority = bootstrap.CONFIG_DIR / "ca.pem"
            downloads = bootstrap.Downloads(f"{config['downloads_url']}/releases/{release}", authority, _PATIENCE)
            content = downloads.read("manifest.json", wanted.sha256, bootstrap.MAX_MANIFEST_BYTES)
            verify(content, wanted.signature, wanted.certificate, authority.read_bytes(), dt.datetime.now(dt.UTC))
            manifest = bootstrap.parse_manifest(content)
            if bootstrap.release_name(manifest.version, wanted.sha256) != release:
                raise Refused("the manifest is of another release")
            bootstrap.install_release(_folder(release), manifest, downloads)
            _refuse_other_journal(_folder(release))
        except (bootstrap.BootstrapFailed, NotSigned, OSError) as error:
            raise Refused(str(error)) from error

    def is_installed(self, release: str) -> bool:
        """Whether it is there."""
        return bool(release) and (_folder(release) / "bin" / "penguin-agent").is_file()

    def switch(self, release: str) -> None:
        """Make it the current one and start it; it is not waited for."""
        bootstrap.install_units(_folder(release), [unit for unit in bootstrap.UNITS if unit != UPGRADE_UNIT])
        bootstrap.point("current", _folder(release))
        bootstrap.run(["systemctl", "daemon-reload"])
        bootstrap.run(["systemctl", "stop", "penguin-configure.service"])
        # Also begins the count of restarts anew.
        bootstrap.run(["systemctl", "reset-failed", AGENT_UNIT])
        bootstrap.run(["systemctl", "restart", "--no-block", AGENT_UNIT])

    def look(self, seconds: float) -> Look:
        """Look at the agent's unit; systemctl-show(1) gives one property a line."""
        asked = ["systemctl", "show", "--property=ActiveState,NRestarts,MainPID", AGENT_UNIT]
        shown = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        told = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        sight = Sight(
            active=told.get("ActiveState", "unknown"),
            restarts=int(told.get("NRestarts", "0")),
            rss_bytes=_rss(told.get("MainPID", "0")),
        )
        return Look(fault_of(sight, seconds))

    def settle(self, release: str, previous: str) -> None:
        """Keep these two and no other."""
        for folder in (bootstrap.INSTALL_DIR / "releases").iterdir():
            if folder.name not in {release, previous}:
                shutil.rmtree(folder, ignore_errors=True)

    def discard(self, release: str) -> None:
        """Take a release away that does not run."""
        shutil.rmtree(_folder(release), ignore_errors=True)


def _folder(release: str) -> Path:
    return bootstrap.INSTALL_DIR / "releases" / release


def _refuse_other_journal(release: Path) -> None:
    """Raise `Refused` for a release whose journal the one that is gone back to could not read."""
    asked = [str(release / "bin" / "python"), "-c", _ASK_SCHEMA]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if told not in {str(version) for version in READABLE}:
        raise Refused(
            f"it keeps its journal in form {told or 'unknown'}, which the one that runs cannot read: no way back"
        )


def _rss(pid: str) -> int:
    """Return a process's resident memory; 0 when there is none. See proc_pid_status(5)."""
    try:
        lines = Path("/proc", pid, "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)
