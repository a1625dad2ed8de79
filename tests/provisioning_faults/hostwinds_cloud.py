"""Hostwinds in the matrix: its adapter asks the fake of its API over HTTP; what would go over SSH is played."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr

from control_plane.providers.base import Provider
from control_plane.providers.hostwinds.catalogue import Allowance
from control_plane.providers.hostwinds.client import Access
from control_plane.providers.hostwinds.provider import Account, HostwindsProvider
from control_plane.providers.hostwinds.ssh import Login
from db.session import Database
from tests.fakes.hostwinds.account import HostwindsAccount
from tests.fakes.hostwinds.door import running_hostwinds
from tests.provisioning_faults.losing import LosingScript

_ALLOWED = Allowance(opted_in=True, per_server=Decimal(20), in_all=Decimal(25))


class WithoutSsh(HostwindsProvider):
    """Starts no program anywhere: the matrix plays the agent."""

    async def start_joining(self, name: str, address: str, program: str) -> None:
        """Let it be."""


@dataclass
class HostwindsCloud:
    """One account; to Hostwinds names mean nothing, and each order that comes in is charged."""

    provider: Provider
    script: LosingScript
    account: HostwindsAccount
    access: Access

    def servers(self) -> list[str]:
        return [str(each["srvrname"]) for each in self.account.instances]

    def leftovers(self) -> list[str]:
        return []

    def created(self) -> int:
        return self.account.costs.servers_created

    def rebuilds(self) -> int:
        return self.account.reinstalled

    def asked(self) -> int:
        return self.account.costs.servers_asked

    def wire_calls(self) -> int:
        return self.script.count

    def variables(self) -> Mapping[str, str]:
        return {
            "PENGUIN_HOSTWINDS_API_KEY": self.access.key.get_secret_value(),
            "PENGUIN_HOSTWINDS_API_URL": self.access.url,
            "PENGUIN_HOSTWINDS_TEMPLATE": "tpl-1",
            "PENGUIN_HOSTWINDS_LOCATIONS": '["1"]',
            "PENGUIN_HOSTWINDS_SSH_KEY": "penguin",
            "PENGUIN_HOSTWINDS_SPENDING": "true",
        }


@asynccontextmanager
async def hostwinds(database: Database, lost: int) -> AsyncIterator[HostwindsCloud]:
    """Open an account of its own: orders are kept by the account."""
    script = LosingScript(lost)
    with running_hostwinds() as fake:
        fake.script, fake.key = script, uuid.uuid4().hex
        login = Login(Path("no-key"), Path("no-known-hosts"))
        access = Access(fake.url, SecretStr(fake.key), 2.0)
        account = Account(access, _ALLOWED, "tpl-1", ("1",), "penguin", login)
        yield HostwindsCloud(WithoutSsh(account, database), script, fake.account, access)
