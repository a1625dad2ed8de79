"""A server's disk: an overlay of its own layer over the shared image.

The image is reached through a link in the server's folder, which also keeps a server on the image it was made from.
Files are written from outside only before the first start: later the server could have put a link in their place.
"""

import ipaddress
import secrets
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from control_plane.providers.local.commands import run
from control_plane.providers.local.mounts import mounts_below, unmount_below
from control_plane.providers.local.network import NAMESERVER

_SEED = "var/lib/cloud/seed/nocloud"


def create_disk(folder: Path, image: Path) -> None:
    """Make an empty layer over an image, and mount it."""
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "lower").symlink_to(image)
    attach_disk(folder)


def attach_disk(folder: Path) -> None:
    """Mount a server's disk at `root`, if it is not."""
    if (folder / "root").resolve() in mounts_below(folder):
        return
    # relative names: a comma or colon in the path of the checkout would end the option
    layers = "lowerdir=lower,upperdir=upper,workdir=work"
    run(["mount", "-t", "overlay", "penguin", "-o", layers, "root"], cwd=folder)


def detach_disk(folder: Path) -> None:
    """Unmount a server's disk; what is on it stays."""
    unmount_below(folder)


def empty_disk(folder: Path) -> None:
    """Unmount a server's disk and remove all that is on it; `create_disk` makes another."""
    detach_disk(folder)
    for name in ("upper", "work", "root"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    (folder / "lower").unlink(missing_ok=True)


def remove_disk(folder: Path) -> None:
    """Unmount and remove a server's folder; no error when it is gone already."""
    detach_disk(folder)
    if folder.exists():
        shutil.rmtree(folder)


def write_first_files(root: Path, hostname: str, address: ipaddress.IPv4Address) -> None:
    """Give a new server its name, resolver, machine id and host key, as a cloud's image and DHCP would."""
    (root / "etc/hostname").write_text(f"{hostname}\n")
    (root / "etc/hosts").write_text(hosts_file(hostname, address))
    (root / "etc/resolv.conf").write_text(f"nameserver {NAMESERVER}\n")
    (root / "etc/mailname").write_text(f"{hostname}\n")
    (root / "etc/machine-id").write_text(f"{secrets.token_hex(16)}\n")
    _write_host_key(root / "etc/ssh/ssh_host_ed25519_key", hostname)


def hosts_file(hostname: str, address: ipaddress.IPv4Address) -> str:
    """Return /etc/hosts: without its own name Dovecot takes 20 s to start, without ::1 spamd drops every request."""
    short = hostname.partition(".")[0]
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{address} {hostname} {short}\n"


def write_seed(root: Path, provider_id: str, hostname: str, user_data: str) -> None:
    """Lay down cloud-init's NoCloud seed, readable by root only: user-data holds the join token."""
    seed = root / _SEED
    seed.mkdir(parents=True, mode=0o700)
    (seed / "meta-data").write_text(f"instance-id: {provider_id}\nlocal-hostname: {hostname}\n")
    (seed / "user-data").touch(mode=0o600)
    (seed / "user-data").write_text(user_data)


def _write_host_key(path: Path, hostname: str) -> None:
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    path.with_name(f"{path.name}.pub").write_text(f"{public} root@{hostname}\n")
