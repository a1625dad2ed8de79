"""The checks that ask, against a name server of the test's own and a real listener."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.commands.probe_port import ProbePort
from control_plane.preflight.ask_blocklists import check_blocklists
from control_plane.preflight.blocklists import LISTED_EXAMPLE, LISTED_EXAMPLE_V6, Blocklist, Severity
from control_plane.preflight.findings import Check, Verdict
from control_plane.preflight.listener import port_check
from control_plane.preflight.resolvers import Resolvers
from control_plane.preflight.reverse_dns import check_reverse_dns
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.commands_pb2 import ProbePort as Deed
from tests.fakes.name_server import FakeNameServer, running_name_server

OWN, ADDRESS = "mx-1.penguin.example", "192.0.2.1"
ZONE = "list.example"
LIST = Blocklist(
    name="The List",
    zone=ZONE,
    severity=Severity.REFUSE,
    listed={"127.0.0.2": "spam"},
    neighbours=4,
    rules="Ask nicely.",
    removal="https://list.example/off",
)


@pytest.fixture
async def names() -> AsyncIterator[FakeNameServer]:
    async with running_name_server() as server:
        server.list_address(ZONE, LISTED_EXAMPLE, "127.0.0.2")
        yield server


@pytest.fixture
def resolvers(names: FakeNameServer) -> Resolvers:
    return Resolvers(["127.0.0.1"], names.port)


async def test_an_address_that_is_not_listed_passes(resolvers: Resolvers) -> None:
    findings = await check_blocklists(resolvers, [LIST], ADDRESS)
    assert [(each.verdict, each.about) for each in findings] == [
        (Verdict.PASSED, ZONE),
        (Verdict.PASSED, f"{ZONE} 192.0.2.0/24"),
    ]


async def test_an_address_that_is_listed_fails(resolvers: Resolvers, names: FakeNameServer) -> None:
    names.list_address(ZONE, ADDRESS, "127.0.0.2")
    finding, _ = await check_blocklists(resolvers, [LIST], ADDRESS)
    assert (finding.verdict, finding.check) == (Verdict.FAILED, Check.BLOCKLIST)


async def test_a_network_of_which_half_is_listed_fails(resolvers: Resolvers, names: FakeNameServer) -> None:
    for last in range(1, 128):
        names.list_address(ZONE, f"192.0.2.{last + 1}", "127.0.0.2")
    own, network = await check_blocklists(resolvers, [LIST], ADDRESS)
    assert (own.verdict, network.verdict) == (Verdict.PASSED, Verdict.FAILED)


async def test_a_list_that_refuses_to_answer_is_not_held_against_anybody(
    resolvers: Resolvers, names: FakeNameServer
) -> None:
    for address in (LISTED_EXAMPLE, ADDRESS):
        names.list_address(ZONE, address, "127.255.255.254")
    (finding,) = await check_blocklists(resolvers, [LIST], ADDRESS)
    assert finding.verdict is Verdict.UNKNOWN
    assert "Ask nicely." in finding.detail


async def test_a_list_that_lists_everything_is_not_believed(resolvers: Resolvers, names: FakeNameServer) -> None:
    for address in ("127.0.0.1", ADDRESS):
        names.list_address(ZONE, address, "127.0.0.2")
    (finding,) = await check_blocklists(resolvers, [LIST], ADDRESS)
    assert (finding.verdict, "lists everything" in finding.detail) == (Verdict.UNKNOWN, True)


async def test_a_list_that_is_away_hides_no_other(resolvers: Resolvers, names: FakeNameServer) -> None:
    names.broken.add("away.example")
    names.list_address(ZONE, ADDRESS, "127.0.0.2")
    away = LIST.model_copy(update={"zone": "away.example"})
    verdicts = [finding.verdict for finding in await check_blocklists(resolvers, [away, LIST], ADDRESS)]
    assert verdicts == [Verdict.UNKNOWN, Verdict.FAILED, Verdict.PASSED]


async def test_no_list_is_asked_twice_while_its_answer_holds(resolvers: Resolvers, names: FakeNameServer) -> None:
    first = await check_blocklists(resolvers, [LIST], ADDRESS)
    asked = dict(names.asked)
    assert await check_blocklists(resolvers, [LIST], ADDRESS) == first
    assert dict(names.asked) == asked
    assert set(asked.values()) == {1}
    assert len(asked) == 2 + 1 + LIST.neighbours


async def test_forward_confirmed_reverse_dns(resolvers: Resolvers, names: FakeNameServer) -> None:
    assert (await check_reverse_dns(resolvers, OWN, ADDRESS)).verdict is Verdict.FAILED
    names.point(ADDRESS, OWN)
    assert (await check_reverse_dns(resolvers, OWN, ADDRESS)).verdict is Verdict.FAILED
    names.records[OWN, "A"] = [ADDRESS]
    assert (await check_reverse_dns(resolvers, OWN, ADDRESS)).verdict is Verdict.PASSED


async def test_a_name_server_that_fails_proves_nothing(resolvers: Resolvers, names: FakeNameServer) -> None:
    names.broken.add("in-addr.arpa")
    finding = await check_reverse_dns(resolvers, OWN, ADDRESS)
    assert (finding.check, finding.verdict) == (Check.REVERSE_DNS, Verdict.PENDING)


async def test_ipv6_without_a_name_is_told_and_keeps_nobody(resolvers: Resolvers, names: FakeNameServer) -> None:
    finding = await check_reverse_dns(resolvers, OWN, "2001:db8::1")
    assert (finding.check, finding.verdict) == (Check.REVERSE_DNS_V6, Verdict.WARNED)
    assert finding.detail.endswith("nothing is sent over IPv6")


async def test_ipv6_that_is_named_both_ways_passes(resolvers: Resolvers, names: FakeNameServer) -> None:
    names.point("2001:db8::1", OWN)
    names.records[OWN, "A"] = [ADDRESS]
    assert (await check_reverse_dns(resolvers, OWN, "2001:db8::1")).verdict is Verdict.WARNED
    names.records[OWN, "AAAA"] = ["2001:db8::1"]
    finding = await check_reverse_dns(resolvers, OWN, "2001:db8::1")
    assert (finding.check, finding.verdict) == (Check.REVERSE_DNS_V6, Verdict.PASSED)


async def test_only_lists_that_have_ipv6_are_asked_about_it(resolvers: Resolvers, names: FakeNameServer) -> None:
    names.list_address("six.example", LISTED_EXAMPLE_V6, "127.0.0.2")
    six = LIST.model_copy(update={"zone": "six.example", "ipv6": True})
    (finding,) = await check_blocklists(resolvers, [LIST, six], "2001:db8::1")
    assert (finding.check, finding.about, finding.verdict) == (Check.BLOCKLIST_V6, "six.example", Verdict.PASSED)
    assert all(name.endswith("six.example") for name, _ in names.asked)
    names.list_address("six.example", "2001:db8::2", "127.0.0.2")
    (finding,) = await check_blocklists(resolvers, [six], "2001:db8::2")
    assert finding.verdict is Verdict.WARNED
    assert finding.detail.endswith("https://list.example/off; nothing is sent over IPv6")


async def test_a_list_that_does_not_list_the_ipv6_example_is_not_believed(
    resolvers: Resolvers, names: FakeNameServer
) -> None:
    names.list_address(ZONE, "2001:db8::2", "127.0.0.2")
    (finding,) = await check_blocklists(resolvers, [LIST.model_copy(update={"ipv6": True})], "2001:db8::2")
    assert (finding.check, finding.verdict) == (Check.BLOCKLIST_V6, Verdict.UNKNOWN)


# ------------------------------------------------------------------ the listener


async def said_by(port: int, *lines: bytes) -> list[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(lines))
    answers = (await reader.read()).decode().splitlines()
    writer.close()
    await writer.wait_closed()
    return [answer[:3] for answer in answers]


@pytest.fixture
async def listener(unused_tcp_port: int) -> AsyncIterator[int]:
    async with port_check(f"127.0.0.1:{unused_tcp_port}", "port25.penguin.example"):
        yield unused_tcp_port


async def test_our_listener_satisfies_our_agent(listener: int) -> None:
    command = Command(id=b"id", probe_port=Deed(host="127.0.0.1", port=listener))
    result = await ProbePort(listener)(command)
    assert (result.outcome, result.output) == (
        CommandResult.OUTCOME_DONE,
        "220 port25.penguin.example ESMTP takes no mail",
    )


async def test_our_listener_takes_no_mail(listener: int) -> None:
    lines = (b"EHLO me\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n", b"QUIT\r\n")
    assert await said_by(listener, *lines) == ["220", "250", "502", "502", "502", "221"]


async def test_our_listener_ends_what_does_not_end(listener: int) -> None:
    assert await said_by(listener, *[b"NOOP\r\n"] * 100) == ["220", *["250"] * 10]
    assert await said_by(listener, b"x" * 5000) == ["220"]
