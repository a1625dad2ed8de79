"""Servers of one's own in the matrix: the adapter is the product's, and a person is played who does what it says."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property

from control_plane.providers.base import NeedsPerson, Provider, ProviderServer, ServerOrder
from control_plane.providers.byo.provider import ByoProvider
from db.session import Database


@dataclass
class Person:
    """Runs the join command on one machine for each server that is asked for, and wipes it when it is not wanted."""

    database: Database
    machines: list[str] = field(default_factory=list)
    asked_for: set[str] = field(default_factory=set)
    joined: int = 0

    @cached_property
    def provider(self) -> Provider:
        return _Obeyed(self)

    def servers(self) -> list[str]:
        return list(self.machines)

    def leftovers(self) -> list[str]:
        return []

    def created(self) -> int:
        return self.joined

    def rebuilds(self) -> int:
        return 0

    def asked(self) -> int:
        return len(self.asked_for)

    def wire_calls(self) -> int:
        return 0

    def variables(self) -> Mapping[str, str]:
        return {}

    def hear(self, name: str) -> None:
        """Hear that a server is waited for; say it twice and it is still one."""
        self.asked_for.add(name)
        if name not in self.machines:
            self.machines.append(name)
            self.joined += 1

    def wipe(self, name: str) -> None:
        """Wipe the machine."""
        if name in self.machines:
            self.machines.remove(name)


class _Obeyed(ByoProvider):
    """The adapter, whose words reach the person."""

    def __init__(self, person: Person) -> None:
        super().__init__(person.database, ())
        self._person = person

    async def create(self, order: ServerOrder) -> ProviderServer:
        try:
            return await super().create(order)
        except NeedsPerson:
            self._person.hear(order.name)
            raise

    async def delete(self, name: str) -> None:
        await super().delete(name)
        self._person.wipe(name)

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        """Have the person set it."""


@asynccontextmanager
async def byo(database: Database, _lost: int) -> AsyncIterator[Person]:
    yield Person(database)
