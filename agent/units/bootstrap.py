"""penguin-bootstrap: makes a fresh server run the agent.

Run as root by cloud-init, with the system's Python and nothing else (3.11 or newer, standard library only). A second
run finds everything done; after an upgrade (agent/upgrade) it goes back to the release that it is for. It reads
/etc/penguin/bootstrap.json, which came with the server's user-data, and:

  1. installs the Debian packages of a mail server, if any is missing;
  2. fetches manifest.json and the wheels it names from the control plane;
  3. makes a virtual environment of its own for this release, offline, and lets the release check itself;
  4. points /opt/penguin-agent/current at it, installs the systemd units and starts them.

On a server without user-data, `join` gets on standard input what would have been in it. It refuses a server that it
does not fit, and one that has joined before, and changes nothing there; else it writes those files and goes on so.

SECURITY: downloads come over HTTPS from a server whose certificate the pinned authority signed. The manifest must have
the SHA-256 that came with the user-data, and each wheel the SHA-256 in the manifest. Nothing is fetched from elsewhere.

DIAGNOSTICS: one line for each step on standard output; on failure one line on standard error and status 1.
"""

import concurrent.futures
import hashlib
import json
import os
import platform
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CONFIG_DIR = Path("/etc/penguin")
#: Where cloud-init puts this program.
PROGRAM = Path("/usr/local/lib/penguin/bootstrap.py")
AGENT_STATE_DIR = Path("/var/lib/penguin-agent")
OS_RELEASE = Path("/etc/os-release")
SYSTEMD = Path("/run/systemd/system")
#: (ID, VERSION_ID) of os-release(5), and what people call it.
SYSTEMS = {("debian", "12"): "Debian 12", ("debian", "13"): "Debian 13", ("ubuntu", "24.04"): "Ubuntu 24.04"}
MACHINE = "x86_64"
INSTALL_DIR = Path("/opt/penguin-agent")
UNIT_DIR = Path("/etc/systemd/system")
SYSUSERS_DIR = Path("/etc/sysusers.d")
UNITS = (
    *("penguin-agent.service", "penguin-configure.service", "penguin-configure.socket"),
    *("penguin-certificates.service", "penguin-certificates.path", "penguin-certificates.timer"),
    *("penguin-upgrade.service", "penguin-packages.service"),
    *("penguin-backup.service", "penguin-backup.path", "penguin-restic.service"),
)
#: What starts with the server; the others are started by these.
ENABLED_UNITS = (
    *("penguin-configure.socket", "penguin-certificates.path", "penguin-certificates.timer"),
    *("penguin-upgrade.service", "penguin-backup.path", "penguin-agent.service"),
)
SYSUSERS = "penguin-agent.sysusers.conf"
#: Where a distribution keeps its units.
VENDOR_UNIT_DIR = Path("/lib/systemd/system")
#: What is added to the distribution's unit of Postfix.
POSTFIX_DROP_IN = "postfix-restart.conf"
AGENT_USER = "penguin-agent"
#: Commands of a release and the modules whose `main` they call.
LAUNCHERS = {
    "penguin-agent": "agent.__main__",
    "penguin-configure": "agent.configuration.root_half",
    "penguin-certificates": "agent.acme.issue",
    "penguin-upgrade": "agent.upgrade.run",
    "penguin-packages": "agent.packages.run",
    "penguin-backup": "agent.backup.run",
}
PACKAGES = (
    "postfix",
    "dovecot-core",
    "dovecot-imapd",
    "dovecot-lmtpd",
    "dovecot-sieve",
    "opendkim",
    "opendkim-tools",
    "opendmarc",
    "certbot",
    "nginx",
)
#: Installed, and run only where there is something to show: as it comes it would take port 80 and show its own page.
DORMANT_PACKAGE = "nginx"
#: A server may boot before it has a network, and before its control plane answers: seconds to go on trying.
DOWNLOAD_PATIENCE = 600.0
DOWNLOAD_TIMEOUT = 30.0
LONGEST_PAUSE = 15.0
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_WHEEL_BYTES = 256 * 1024 * 1024
#: Releases kept for a way back, the current one included.
RELEASES_KEPT = 2


class BootstrapFailed(Exception):
    """The server cannot be made to run the agent; the message says which step and why."""


@dataclass(frozen=True)
class Wheel:
    """A file to install and the SHA-256 (hex) it must have."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A release: its name and its wheels."""

    version: str
    wheels: tuple[Wheel, ...]


def main() -> int:
    """Run all steps; return the exit status."""
    try:
        if sys.argv[1:] == ["join"]:
            join(sys.stdin.buffer.read())
        bootstrap()
    except BootstrapFailed as error:
        print(f"penguin-bootstrap: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def join(content: bytes) -> None:
    """Write what user-data would have brought. Raises `BootstrapFailed`, and then nothing has been changed."""
    try:
        files = {Path(name): str(text) for name, text in json.loads(content).items()}
        token = json.loads(files[CONFIG_DIR / "agent.json"])["join_token"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BootstrapFailed(f"what to join with cannot be used: {error!r}") from error
    refuse_unfit_server()
    refuse_joined_server(token)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        # What holds the token is a secret from its first moment.
        secret = path.name == "agent.json"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644), "w") as file:
            file.write(text)
        draft.replace(path)


def refuse_unfit_server() -> None:
    """Raise `BootstrapFailed` unless this is a system that the agent runs on, and we may change it."""
    system = read_os_release(OS_RELEASE)
    if system not in SYSTEMS:
        known = ", ".join(SYSTEMS.values())
        raise BootstrapFailed(f"this is {' '.join(system)}; it must be one of {known}; nothing was changed")
    if platform.machine() != MACHINE:
        raise BootstrapFailed(f"this machine is {platform.machine()}; it must be {MACHINE}; nothing was changed")
    if not SYSTEMD.is_dir():
        raise BootstrapFailed("systemd does not run here, as in a plain container; nothing was changed")
    if os.geteuid() != 0:
        raise BootstrapFailed("this must be run as root; nothing was changed")


def read_os_release(path: Path) -> tuple[str, str]:
    """Return ID and VERSION_ID of os-release(5); `unknown` stands for what is not said."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    said = {name: value.strip("\"'") for name, _, value in (line.partition("=") for line in lines)}
    return said.get("ID", "unknown"), said.get("VERSION_ID", "unknown")


def refuse_joined_server(token: str) -> None:
    """Raise `BootstrapFailed` for a server that has joined; one whose first run was cut short may go on."""
    if (AGENT_STATE_DIR / "identity" / "enrolment.json").exists():
        raise BootstrapFailed(
            "this server has joined already; its join command works once. To have it join anew, remove it from the"
            " installation, install its system again, and make a new command; nothing was changed"
        )
    join_file = CONFIG_DIR / "agent.json"
    if join_file.exists() and f'"{token}"' not in join_file.read_text():
        raise BootstrapFailed("another join command was begun on this server; finish that one; nothing was changed")


def bootstrap() -> None:
    """Do what is missing. Raises `BootstrapFailed`."""
    config = read_config(CONFIG_DIR / "bootstrap.json")
    install_packages()
    say("fetching the release")
    downloads = Downloads(config["downloads_url"], CONFIG_DIR / "ca.pem")
    manifest = parse_manifest(downloads.read("manifest.json", config["manifest_sha256"], MAX_MANIFEST_BYTES))
    release = INSTALL_DIR / "releases" / release_name(manifest.version, config["manifest_sha256"])
    if not _is_current(release):
        install_release(release, manifest, downloads)
    units_changed = install_units(release)
    hand_over_join_file()
    point("good", release)
    start_units(restart=point("current", release) or units_changed)
    remove_old_releases(release)
    say(f"the agent runs, release {release.name}")


def say(what: str) -> None:
    """Tell the progress, in cloud-init's log and on the console."""
    print(f"penguin-bootstrap: {what}", flush=True)


def release_name(version: str, manifest_sha256: str) -> str:
    """Return the name of a release's folder."""
    return f"{version}-{manifest_sha256[:12]}"


def read_config(path: Path) -> Mapping[str, str]:
    """Return where the control plane's files are, and which release is for this server. Raises `BootstrapFailed`."""
    try:
        content = json.loads(path.read_bytes())
        return {key: str(content[key]) for key in ("downloads_url", "manifest_sha256")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BootstrapFailed(f"{path} cannot be used: {error!r}") from error


def parse_manifest(content: bytes) -> Manifest:
    """Read manifest.json. Names are file names and nothing more: they become paths. Raises `BootstrapFailed`."""
    try:
        raw = json.loads(content)
        wheels = tuple(Wheel(_file_name(wheel["name"]), str(wheel["sha256"])) for wheel in raw["wheels"])
        return Manifest(_file_name(raw["version"]), wheels)
    except (ValueError, KeyError, TypeError) as error:
        raise BootstrapFailed(f"the manifest cannot be used: {error!r}") from error


def _file_name(name: object) -> str:
    if not isinstance(name, str) or not name or name.startswith(".") or Path(name).name != name:
        raise ValueError(f"not a file name: {name!r}")
    return name


class Downloads:
    """The control plane's files, over HTTPS with the pinned authority and no proxy."""

    def __init__(self, url: str, ca_file: Path, patience: float = DOWNLOAD_PATIENCE) -> None:
        if not url.startswith("https://"):
            raise BootstrapFailed(f"downloads must come over https, not from {url}")
        self._url = url.rstrip("/")
        try:
            context = ssl.create_default_context(cafile=str(ca_file))
        except OSError as error:
            raise BootstrapFailed(f"{ca_file} cannot be used: {error}") from error
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        self._give_up_at = time.monotonic() + patience

    def read(self, name: str, sha256: str, limit: int) -> bytes:
        """Fetch a file, trying for some minutes. Raises `BootstrapFailed`, at once when its content is not right."""
        pause = 0.5
        while True:
            try:
                with self._opener.open(f"{self._url}/{name}", timeout=DOWNLOAD_TIMEOUT) as response:
                    content: bytes = response.read(limit + 1)
                    # Told by no error: the connection ended before the file did.
                    if response.length and len(content) <= limit:
                        raise ConnectionError(f"cut off after {len(content)} octets")
                break
            except (urllib.error.URLError, OSError) as error:
                if time.monotonic() + pause > self._give_up_at:
                    raise BootstrapFailed(f"{name} could not be fetched: {error}") from error
                say(f"{name}: {error}; trying again in {pause:.1f} s")
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise BootstrapFailed(f"{name} has SHA-256 {found}, expected {sha256}")
        return content


def install_packages() -> None:
    """Install the packages that are missing; a baked image has them all."""
    missing = [package for package in PACKAGES if not _is_installed(package)]
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    # Without an answer Postfix is left without main.cf, and each of its commands then takes a second.
    answers = (
        f"postfix postfix/main_mailer_type select Internet Site\npostfix postfix/mailname string {socket.getfqdn()}\n"
    )
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=5"]
    run(["debconf-set-selections"], stdin=answers)
    run([*apt, "update"])
    run([*apt, "install", "--no-install-recommends", *missing])
    if DORMANT_PACKAGE in missing:
        run(["systemctl", "disable", "--quiet", "--now", DORMANT_PACKAGE])


def _is_installed(package: str) -> bool:
    query = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return query.stdout == "installed"


def _is_current(release: Path) -> bool:
    current = INSTALL_DIR / "current"
    return current.is_symlink() and current.readlink() == release and release.is_dir()


def install_release(release: Path, manifest: Manifest, downloads: Downloads) -> None:
    """Make the release's environment and let it check itself. What an earlier, broken run left there goes."""
    shutil.rmtree(release, ignore_errors=True)
    release.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=INSTALL_DIR, prefix=".wheels-") as folder:
        wheels = _fetch_wheels(manifest, downloads, Path(folder))
        say(f"installing release {release.name}")
        run([sys.executable, "-m", "venv", "--without-pip", str(release)])
        (site_packages,) = release.glob("lib/python3*/site-packages")
        for wheel in wheels:
            unpack_wheel(wheel, site_packages)
    for name, module in LAUNCHERS.items():
        write_launcher(release, name, module)
    # Run as root, this also leaves the compiled modules that the agent, which may not write here, starts from.
    run([str(release / "bin" / "penguin-agent"), "selfcheck"])


def _fetch_wheels(manifest: Manifest, downloads: Downloads, folder: Path) -> list[Path]:
    def fetch(wheel: Wheel) -> Path:
        path = folder / wheel.name
        path.write_bytes(downloads.read(wheel.name, wheel.sha256, MAX_WHEEL_BYTES))
        return path

    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(fetch, [wheel for wheel in manifest.wheels if fits(wheel.name, sys.version_info[1])]))


def fits(wheel: str, minor: int) -> bool:
    """Return whether a wheel is for CPython 3.`minor` (Platform compatibility tags); they are all for our platform."""
    tags = re.search(r"-(?:py3|py2\.py3|cp3(\d+))-(none|abi3|cp\d+)-[^-]+\.whl$", wheel)
    if tags is None or tags[1] is None:
        return tags is not None
    return int(tags[1]) <= minor if tags[2] == "abi3" else int(tags[1]) == minor


def unpack_wheel(wheel: Path, site_packages: Path) -> None:
    """Unpack a wheel, which is all there is to installing one without a .data folder (Binary distribution format).

    It takes a third of pip's time, and a release is never changed, only replaced. Raises `BootstrapFailed`.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            if any(name.partition("/")[0].endswith(".data") for name in archive.namelist()):
                raise BootstrapFailed(f"{wheel.name} has files for outside of site-packages")
            archive.extractall(site_packages)
    except zipfile.BadZipFile as error:
        raise BootstrapFailed(f"{wheel.name} is no wheel: {error}") from error


def write_launcher(release: Path, name: str, module: str) -> None:
    """Make a command of the release that calls `main` of a module."""
    launcher = release / "bin" / name
    launcher.write_text(f"#!{release}/bin/python\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n")
    launcher.chmod(0o755)


def install_units(release: Path, units: Sequence[str] = UNITS) -> bool:
    """Copy units and user from the release; return whether any file changed."""
    (source,) = release.glob("lib/python3*/site-packages/agent/units")
    if _copy_if_changed(source / SYSUSERS, SYSUSERS_DIR / "penguin-agent.conf"):
        run(["systemd-sysusers", str(SYSUSERS_DIR / "penguin-agent.conf")])
    changed = [_copy_if_changed(source / unit, UNIT_DIR / unit) for unit in units]
    changed.append(_copy_if_changed(source / POSTFIX_DROP_IN, UNIT_DIR / f"{postfix_unit()}.d" / "penguin.conf"))
    return any(changed)


def postfix_unit() -> str:
    """Return the name of the file of the unit that runs Postfix's main instance.

    Debian 13 has a postfix.service of its own for it, beside a template for others. In Debian 12 and Ubuntu 24.04 the
    template runs it too, and postfix.service (oneshot) only stands for all of them; systemd refuses that with Restart=.
    """
    unit = VENDOR_UNIT_DIR / "postfix.service"
    stands_for_others = unit.exists() and "Type=oneshot" in unit.read_text(encoding="utf-8").splitlines()
    return "postfix@.service" if stands_for_others else unit.name


def _copy_if_changed(source: Path, target: Path) -> bool:
    content = source.read_bytes()
    if target.is_file() and target.read_bytes() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.new")
    draft.write_bytes(content)
    draft.chmod(0o644)
    draft.replace(target)
    return True


def hand_over_join_file() -> None:
    """Give the agent its join file, the only file of the folder that it may write."""
    join_file = CONFIG_DIR / "agent.json"
    CONFIG_DIR.chmod(0o755)
    if join_file.exists():
        join_file.chmod(0o600)
        shutil.chown(join_file, AGENT_USER, AGENT_USER)


def point(link: str, release: Path) -> bool:
    """Point `current` (what runs) or `good` (what upgrades it) at a release in one step; return whether it changed."""
    place = INSTALL_DIR / link
    if place.is_symlink() and place.readlink() == release:
        return False
    draft = INSTALL_DIR / f".{link}.new"
    draft.unlink(missing_ok=True)
    draft.symlink_to(release)
    draft.replace(place)
    return True


def start_units(*, restart: bool) -> None:
    """Enable and (re)start the agent. Its unit is ready once it tried the link, whether or not that is up."""
    say("starting the agent")
    if not restart:
        run(["systemctl", "start", *ENABLED_UNITS])
        return
    # None of ours has a System V twin, and looking for them takes seconds.
    without_sysv = {**os.environ, "SYSTEMCTL_SKIP_SYSV": "1"}
    run(["systemctl", "enable", "--no-reload", *ENABLED_UNITS], environment=without_sysv)
    run(["systemctl", "daemon-reload"])
    run(["systemctl", "stop", "penguin-configure.service"])
    run(["systemctl", "restart", *ENABLED_UNITS])


def remove_old_releases(release: Path) -> None:
    """Keep the newest releases and the current one."""
    others = [path for path in release.parent.iterdir() if path != release]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[RELEASES_KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def run(command: list[str], stdin: str | None = None, environment: Mapping[str, str] | None = None) -> None:
    """Run a command. Raises `BootstrapFailed` with its last words."""
    environment = {**(environment or os.environ), "DEBIAN_FRONTEND": "noninteractive"}
    try:
        result = subprocess.run(
            command, input=stdin or "", capture_output=True, text=True, env=environment, check=False
        )
    except OSError as error:
        raise BootstrapFailed(f"{command[0]}: {error.strerror}") from error
    if result.returncode != 0:
        words = (result.stderr or result.stdout).strip()[-2000:]
        raise BootstrapFailed(f"{' '.join(command[:4])}: status {result.returncode}: {words}")


if __name__ == "__main__":
    sys.exit(main())
