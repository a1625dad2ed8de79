"""The user-data of a new server: pure, from what it needs to join and nothing else.

It carries the pinned authority, a join token and a bootstrap program, whose wheels are pinned by the hash of their
manifest. Documentation: https://cloudinit.readthedocs.io/en/latest/reference/modules.html
"""

import json
from dataclasses import dataclass, field

import yaml

#: The smallest limit among providers (Hetzner Cloud), in bytes.
USER_DATA_LIMIT = 32 * 1024

BOOTSTRAP_PATH = "/usr/local/lib/penguin/bootstrap.py"
AGENT_FILE = "/etc/penguin/agent.json"


class UserDataTooLong(Exception):
    """The user-data does not fit into what every provider takes."""


@dataclass(frozen=True, slots=True)
class JoinData:
    """What one server needs to become a known one; endpoints are host:port."""

    hostname: str
    enrol_endpoint: str
    downloads_url: str
    join_token: str = field(repr=False)
    authority_pem: str
    manifest_sha256: str
    bootstrap_source: str

    def files(self) -> dict[str, str]:
        """Return what the bootstrap finds on the server, by path."""
        agent = {"enrol_endpoint": self.enrol_endpoint, "join_token": self.join_token}
        bootstrap = {"downloads_url": self.downloads_url, "manifest_sha256": self.manifest_sha256}
        return {
            "/etc/penguin/ca.pem": self.authority_pem,
            AGENT_FILE: json.dumps(agent),
            "/etc/penguin/bootstrap.json": json.dumps(bootstrap),
        }


def render_user_data(join: JoinData) -> str:
    """Return `#cloud-config` that makes the server install its agent and enrol.

    Raises `UserDataTooLong`.
    """
    document = {
        # Without package `locales` the module fails, and cloud-init's status with it.
        "locale": False,
        "hostname": join.hostname.partition(".")[0],
        "fqdn": join.hostname,
        "prefer_fqdn_over_hostname": True,
        "ssh_pwauth": False,
        "write_files": [
            _file(path, content, _permissions(path))
            for path, content in {**join.files(), BOOTSTRAP_PATH: join.bootstrap_source}.items()
        ],
        "runcmd": [["python3", BOOTSTRAP_PATH]],
    }
    user_data = "#cloud-config\n" + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000)
    if len(user_data.encode()) > USER_DATA_LIMIT:
        raise UserDataTooLong(f"user-data has {len(user_data.encode())} bytes; {USER_DATA_LIMIT} are allowed")
    return user_data


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, where YAML allows it."""


def _represent_text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent_text)


def _file(path: str, content: str, permissions: str) -> dict[str, str]:
    return {"path": path, "owner": "root:root", "permissions": permissions, "content": content}


def _permissions(path: str) -> str:
    """Return the mode; the token in the agent's file is a secret until it is used."""
    return {AGENT_FILE: "0600", BOOTSTRAP_PATH: "0755"}.get(path, "0644")
