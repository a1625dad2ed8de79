"""A record is everywhere when each server says it by itself."""

from collections.abc import Sequence

import pytest

from control_plane.dns import everywhere
from control_plane.dns.everywhere import MOST_SERVERS, servers_without
from control_plane.dns.records import dkim_record
from control_plane.dns.resolve import NoAnswer

KEY = dkim_record("acme.example", "pm2", "MIIBIj")
RESOLVERS = ("192.0.2.53",)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """What each server says of the key, by its address; one that is not there does not answer."""
    answers: dict[str, tuple[str, ...]] = {}

    async def values_of(fqdn: str, record_type: str, nameservers: Sequence[str]) -> tuple[str, ...]:
        match record_type:
            case "NS":
                return ("ns1.acme.example", "ns2.acme.example", "ns.elsewhere.example")
            case "A" if fqdn == "ns.elsewhere.example":
                raise NoAnswer(fqdn)
            case "A":
                return (f"198.51.100.{fqdn[2]}",)
        if nameservers[0] not in answers:
            raise NoAnswer(nameservers[0])
        return answers[nameservers[0]]

    monkeypatch.setattr(everywhere, "values_of", values_of)
    return answers


async def test_all_have_it(said: dict[str, tuple[str, ...]]) -> None:
    said |= dict.fromkeys((*RESOLVERS, "198.51.100.1", "198.51.100.2"), (KEY.value,))

    assert await servers_without(KEY, RESOLVERS) == []


@pytest.mark.parametrize("behind", [(), ("v=DKIM1; k=rsa; p=old",)])
async def test_one_that_has_it_not_is_named(said: dict[str, tuple[str, ...]], behind: tuple[str, ...]) -> None:
    said |= {"192.0.2.53": (KEY.value,), "198.51.100.1": (KEY.value,), "198.51.100.2": behind}

    assert await servers_without(KEY, RESOLVERS) == ["198.51.100.2"]


async def test_one_that_does_not_answer_is_named(said: dict[str, tuple[str, ...]]) -> None:
    said |= {"192.0.2.53": (KEY.value,), "198.51.100.1": (KEY.value,)}

    assert await servers_without(KEY, RESOLVERS) == ["198.51.100.2"]


@pytest.mark.parametrize(("names", "addresses"), [(1000, 1), (1, 1000)])
async def test_a_zone_that_names_a_thousand_servers_has_a_few_of_them_asked(
    monkeypatch: pytest.MonkeyPatch, names: int, addresses: int
) -> None:
    asked: list[str] = []

    async def values_of(fqdn: str, record_type: str, nameservers: Sequence[str]) -> tuple[str, ...]:
        asked.append(nameservers[0])
        if record_type == "NS":
            return tuple(f"ns{number}.acme.example" for number in range(names))
        if record_type == "A":
            return tuple(f"2001:db8::{fqdn[2:4]}:{number:x}" for number in range(addresses))
        return (KEY.value,)

    monkeypatch.setattr(everywhere, "values_of", values_of)

    assert await servers_without(KEY, RESOLVERS) == []
    assert len(asked) <= 2 * (MOST_SERVERS + 1)
