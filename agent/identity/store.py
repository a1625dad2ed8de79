"""Keeps who this server is, so that a crash leaves the old state or the new one, never half of either."""

import json
import os
from dataclasses import dataclass
from pathlib import Path


class DamagedIdentity(ValueError):
    """A file of the identity folder does not hold what it should."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the control plane gave this server: nothing in it is secret without the key."""

    certificate_pem: bytes
    #: Certificate authorities to trust for the hub.
    ca_pem: bytes
    #: host:port of the link.
    link_endpoint: str
    vps_id: str


class IdentityStore:
    """The folder with `key.pem` and `enrolment.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def key_file(self) -> Path:
        """The private key, PEM, mode 0600."""
        return self._folder / "key.pem"

    def save(self, enrolment: Enrolment) -> None:
        """Keep a new certificate and what came with it, in one step."""
        content = {
            "certificate_pem": enrolment.certificate_pem.decode("ascii"),
            "ca_pem": enrolment.ca_pem.decode("ascii"),
            "link_endpoint": enrolment.link_endpoint,
            "vps_id": enrolment.vps_id,
        }
        write_atomically(self._enrolment_file, json.dumps(content, indent=1).encode(), mode=0o600)

    def load(self) -> Enrolment:
        """Read what `save` kept. Raises `FileNotFoundError`, or `ValueError` when the file is damaged."""
        content = json.loads(self._enrolment_file.read_bytes())
        try:
            return Enrolment(
                certificate_pem=content["certificate_pem"].encode("ascii"),
                ca_pem=content["ca_pem"].encode("ascii"),
                link_endpoint=content["link_endpoint"],
                vps_id=content["vps_id"],
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise DamagedIdentity(f"{self._enrolment_file} is damaged") from error

    @property
    def _enrolment_file(self) -> Path:
        return self._folder / "enrolment.json"


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Replace `path` by `content`, on disk when this returns. The permissions are right before the first byte."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
