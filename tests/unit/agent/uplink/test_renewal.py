"""When a certificate is renewed, and when again."""

import asyncio
import datetime as dt
from pathlib import Path

import grpc.aio
import pytest

from agent.identity.key import make_key, signing_request
from agent.identity.store import Enrolment, IdentityStore
from agent.uplink import renewal
from agent.uplink.renewal import CLOCK_AHEAD_PAUSE, renew_when_due
from tests.fakes.hub import FakeAuthority

_LIFE = dt.timedelta(days=7)


class Bench:
    """A server with a certificate past half of its life, and whoever renews it at once; nothing is slept."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = IdentityStore(folder)
        self.renewals = 0
        self.slept: list[float] = []
        self._request = signing_request(make_key(self.store.key_file))
        self._authority = FakeAuthority()
        self._keep(age=_LIFE * 0.6)
        monkeypatch.setattr(renewal, "renew", self._renew)
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def run(self, ahead: dt.timedelta) -> None:
        def clock() -> dt.datetime:
            return dt.datetime.now(dt.UTC) + ahead

        async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
            await renew_when_due(channel, self.store, clock, lambda: 0.0)

    def _keep(self, age: dt.timedelta) -> None:
        certificate = self._authority.agent(self._request, "vps-1", age, _LIFE)
        self.store.save(Enrolment(certificate, self._authority.pem, "127.0.0.1:1", "vps-1"))

    async def _renew(self, _channel: grpc.aio.Channel, _store: IdentityStore) -> None:
        self.renewals += 1
        self._keep(age=dt.timedelta(0))

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_renewed_certificate_is_used_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch)
    await bench.run(ahead=dt.timedelta(0))
    assert (bench.renewals, bench.slept) == (1, [])


async def test_a_server_whose_clock_is_far_ahead_does_not_renew_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each session would begin with a renewal and end by it; the hub keeps a row of each."""
    bench = Bench(tmp_path, monkeypatch)
    await bench.run(ahead=dt.timedelta(days=30))
    assert (bench.renewals, bench.slept) == (1, [CLOCK_AHEAD_PAUSE])
