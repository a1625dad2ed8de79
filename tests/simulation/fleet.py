"""A fleet in rows and files: servers that are ready, each with a key, a recorded certificate and an agent's folder."""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity.key import key_pem, signing_request
from agent.settings import Settings as AgentSettings
from control_plane.enrolment.authority import Authority, IssuedCertificate
from control_plane.enrolment.identity import AgentIdentity
from control_plane.sealing import Sealer
from tests.integration.database import SomeTenant

_SERVERS = (
    "COPY vps_servers (id, tenant_id, workspace_id, provider, ip_address, hostname, size, region, status,"
    " probe_password_sealed) FROM STDIN"
)
_CERTIFICATES = "COPY agent_certificates (serial, tenant_id, vps_id, not_after) FROM STDIN"


@dataclass(frozen=True, slots=True)
class Agent:
    """One server's identity."""

    vps_id: uuid.UUID
    key: ec.EllipticCurvePrivateKey
    certificate: IssuedCertificate


def agent_settings(folder: Path, number: int) -> AgentSettings:
    """Return where the agent of this number has its things."""
    own = folder / str(number)
    return AgentSettings(config_dir=own, state_dir=own)


def make_agents(authority: Authority, tenant: SomeTenant, count: int) -> list[Agent]:
    """Make keys, and certificates as enrolment would issue them."""
    return [_make_agent(authority, AgentIdentity(tenant.id, uuid.uuid4())) for _ in range(count)]


def keep_rows(owner_url: str, tenant: SomeTenant, agents: Sequence[Agent], sealer: Sealer) -> None:
    """Insert servers and certificates. As the owner and without triggers: no plan allows so many."""
    with psycopg.connect(owner_url) as connection:
        connection.execute("SET session_replication_role = replica")
        with connection.cursor().copy(_SERVERS) as copy:
            for number, agent in enumerate(agents):
                probe = sealer.seal(b"probe", f"vps_servers.probe_password:{agent.vps_id}")
                address = f"10.{80 + number // 65536}.{number // 256 % 256}.{number % 256}"
                hostname = f"mx-{agent.vps_id.hex}.penguin.example"
                row = (agent.vps_id, tenant.id, tenant.workspace_id, "local", address, hostname, "small", "here")
                copy.write_row((*row, "ready", probe))
        with connection.cursor().copy(_CERTIFICATES) as copy:
            for agent in agents:
                copy.write_row((agent.certificate.serial, tenant.id, agent.vps_id, agent.certificate.not_after))
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE vps_servers, agent_certificates")


def keep_identities(folder: Path, agents: Sequence[Agent], ca_pem: bytes, link_endpoint: str) -> None:
    """Write what each agent's `IdentityStore` reads, without waiting for the disk."""
    for number, agent in enumerate(agents):
        own = agent_settings(folder, number).identity_dir
        own.mkdir(mode=0o700, parents=True)
        enrolment = {
            "certificate_pem": agent.certificate.pem.decode(),
            "ca_pem": ca_pem.decode(),
            "link_endpoint": link_endpoint,
            "vps_id": str(agent.vps_id),
        }
        _write(own / "key.pem", key_pem(agent.key))
        _write(own / "enrolment.json", json.dumps(enrolment).encode())


def _make_agent(authority: Authority, identity: AgentIdentity) -> Agent:
    key = ec.generate_private_key(ec.SECP256R1())
    return Agent(identity.vps_id, key, authority.issue_agent(signing_request(key), identity))


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)
