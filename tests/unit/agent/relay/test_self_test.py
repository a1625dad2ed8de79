"""Which domains' mail is found to be signed with their keys."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.relay import self_test
from agent.relay.keyring import KeyRing
from agent.relay.self_test import SigningSelfTest
from agent.relay.signing import SigningKey
from agent.uplink.latest import Latest
from protos.agent.v1.configuration_pb2 import DesiredState, DkimKey, MailDomain, MailServer
from protos.agent.v1.telemetry_pb2 import SigningFault, SigningTest

OURS, ANOTHER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
PEM = OURS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Bench:
    """A server with domains; its opendkim signs with `signs_with`, and cannot be asked for what is not there."""

    def __init__(self, *domains: str, unreadable: Sequence[str] = ()) -> None:
        self.applied: Latest[DesiredState] = Latest()
        self.signs_with = dict.fromkeys(domains, OURS)
        self.asked: list[list[str]] = []
        #: What is put right once it was found.
        self.mended: dict[str, rsa.RSAPrivateKey] = {}
        self._keys = KeyRing(self.applied)
        self.test = SigningSelfTest(self.applied, self._keys, self._sign, again_seconds=0)
        self.have(*domains, unreadable=unreadable)

    def have(self, *domains: str, unreadable: Sequence[str] = ()) -> None:
        keys = {name: DkimKey(selector="pm1", private_key_pem=PEM, active=True) for name in domains}
        keys |= {name: DkimKey(selector="pm1", private_key_pem=b"?", active=True) for name in unreadable}
        mail_domains = [MailDomain(name=name, dkim_keys=[key]) for name, key in keys.items()]
        unused = MailDomain(name="unused.example", dkim_keys=[DkimKey(selector="old", private_key_pem=PEM)])
        self.applied.set(DesiredState(version=1, server=MailServer(domains=[*mail_domains, unused])))

    async def look(self) -> SigningTest:
        ring = asyncio.create_task(self._keys.run())
        await self.test.look()
        ring.cancel()
        await asyncio.gather(ring, return_exceptions=True)
        assert self.test.told is not None
        return self.test.told

    async def _sign(self, domains: Sequence[str]) -> Mapping[str, bytes]:
        self.asked.append(list(domains))
        signed = {name: _signed(name, self.signs_with[name]) for name in domains if name in self.signs_with}
        self.signs_with |= self.mended
        return signed


def _signed(domain: str, key: rsa.RSAPrivateKey) -> bytes:
    message = f"From: a@{domain}\r\n\r\nx\r\n".encode()
    return SigningKey(domain, "pm1", key).sign(message, 1) + message


async def test_domains_that_are_signed_for_are_counted_and_no_more_is_said() -> None:
    bench = Bench("a.example", "b.example")
    assert bench.test.told is None
    assert await bench.look() == SigningTest(good=2)
    assert bench.asked == [["a.example", "b.example"]]


async def test_an_opendkim_with_another_key_is_told_by_its_domain() -> None:
    bench = Bench("a.example", "b.example")
    bench.signs_with["b.example"] = ANOTHER
    fault = SigningFault(domain="b.example", fault="as opendkim signs, the signature is not by its key")
    assert await bench.look() == SigningTest(good=1, failed=1, faults=[fault])
    assert bench.asked[1:] == [["b.example"]]


async def test_what_is_right_when_it_is_tried_again_was_being_changed() -> None:
    bench = Bench("a.example")
    bench.signs_with["a.example"] = ANOTHER
    bench.mended = {"a.example": OURS}
    assert await bench.look() == SigningTest(good=1)


async def test_a_key_that_cannot_be_read_is_told_without_opendkim() -> None:
    bench = Bench("a.example", unreadable=["b.example"])
    bench.signs_with.clear()
    told = await bench.look()
    assert (told.good, told.failed) == (1, 1)
    assert list(told.faults) == [SigningFault(domain="b.example", fault="its key cannot be read")]


async def test_a_domain_that_left_is_told_no_more() -> None:
    bench = Bench("a.example", "b.example")
    bench.signs_with["b.example"] = ANOTHER
    await bench.look()
    bench.have("a.example")
    assert await bench.look() == SigningTest(good=1)
    bench.have()
    assert await bench.look() == SigningTest()


async def test_many_domains_take_turns_and_the_first_faults_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "AT_ONCE", 5)
    names = [f"d{number:02}.example" for number in range(12)]
    bench = Bench(*names)
    bench.signs_with = dict.fromkeys(names, ANOTHER)
    for _ in range(3):
        told = await bench.look()
    assert [turn[0] for turn in bench.asked[::2]] == ["d00.example", "d05.example", "d10.example"]
    assert bench.asked[-1] == ["d10.example", "d11.example", "d00.example", "d01.example", "d02.example"]
    assert (told.good, told.failed) == (0, 12)
    assert [fault.domain for fault in told.faults] == names[:10]
