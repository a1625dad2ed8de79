"""A real server of restic's REST protocol (rclone's), by HTTPS and for one who logs in."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.gateway import free_port
from tests.integration.submission.certificate import make_certificate

USER, PASSWORD = "penguin", "anchovy-of-the-place"


@dataclass(frozen=True, slots=True)
class RestPlace:
    """Where it is, and where what it is given lies."""

    port: int
    folder: Path
    certificate: Path

    @property
    def trust(self) -> Mapping[str, str]:
        """What has restic believe the certificate, as a public one would be."""
        return {"SSL_CERT_FILE": os.fspath(self.certificate)}

    def repository(self, password: str = PASSWORD) -> str:
        """Return the place as a tenant would name it."""
        return f"rest:https://{USER}:{password}@127.0.0.1:{self.port}/backups"


@contextmanager
def rest_place(folder: Path) -> Iterator[RestPlace]:
    """Run one that keeps all in the folder."""
    kept = folder / "kept"
    kept.mkdir(parents=True)
    certificate, key = make_certificate(folder)
    place = RestPlace(free_port(), kept, certificate)
    server = subprocess.Popen(
        [
            *("rclone", "serve", "restic", "--verbose", "--config", os.devnull, "--addr", f"127.0.0.1:{place.port}"),
            *("--cert", os.fspath(certificate), "--key", os.fspath(key), "--user", USER, "--pass", PASSWORD),
            os.fspath(kept),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        assert any("Serving restic REST API" in line for line in server.stderr)
        yield place
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)
