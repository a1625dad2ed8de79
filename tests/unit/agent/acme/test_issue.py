import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest

from agent.acme import due, status
from agent.acme.handing import NoAnswer
from agent.acme.issue import Issuer, look
from agent.acme.order import Order
from agent.acme.states import State
from agent.acme.verdict import Failure
from agent.status_writer import write_status
from mailstack.certificates import self_signed
from mailstack.certificates.pair import Pair, unpack
from protos.agent.v1.configuration_pb2 import ConfigurationResult
from tests.unit.agent.acme.pairs import issued

_HOST = "mx1.fleet.example"
_BEGINS = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
_ORDER = {
    "hostname": _HOST,
    "directory_url": "https://acme.example/dir",
    "account_email": "a@b.example",
    "roots_pem": "",
}
_DOWN = Failure(State.UNREACHABLE, "https://acme.example/dir does not answer")


class Server:
    """A mail server and its authority: `answers` is what that says, in turn, `word` what the root half says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = _BEGINS.timestamp()
        self.asked: list[Order] = []
        self.answers: list[Pair | Failure] = []
        self.word: ConfigurationResult | NoAnswer = ConfigurationResult(outcome=ConfigurationResult.OUTCOME_APPLIED)
        self.issuer = Issuer(
            folder=folder,
            order_file=folder / "order.json",
            asked_file=folder / "asked.json",
            served_file=folder / "served.pem",
            ask=self._ask,
            hand_over=self._hand_over,
            now=lambda: self.time,
            draw=lambda: 0.5,
            sleep=self._sleep,
        )
        self.order(**_ORDER)
        self.issuer.served_file.write_bytes(self_signed.make(_HOST, _BEGINS).packed)

    def order(self, **order: str | bool) -> None:
        self.issuer.order_file.write_text(json.dumps(order))

    def ask_by_command(self, **asked: float) -> None:
        self.issuer.asked_file.write_text(json.dumps(asked))

    @property
    def served(self) -> Pair:
        return unpack(self.issuer.served_file.read_bytes())

    @property
    def status(self) -> status.Status:
        return status.load(self.issuer.status_file)

    def _ask(self, order: Order, folder: Path) -> Pair | Failure:
        assert folder == self.folder
        assert self.status.state is State.ASKING
        self.asked.append(order)
        return self.answers.pop(0)

    def _hand_over(self, pair: Pair) -> ConfigurationResult:
        if isinstance(self.word, NoAnswer):
            raise self.word
        if self.word.outcome == ConfigurationResult.OUTCOME_APPLIED:
            self.issuer.served_file.write_bytes(pair.packed)
        return self.word

    def _sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def _pair(begins: dt.datetime = _BEGINS) -> Pair:
    return issued(_HOST, begins, dt.timedelta(days=90))


def test_the_first_certificate_takes_the_place_of_our_own(server: Server) -> None:
    pair = _pair()
    server.answers = [pair]
    look(server.issuer)
    assert server.served == pair
    assert server.status.state is State.ISSUED
    assert not server.issuer.pending_file.exists()


def test_without_an_authority_nobody_is_asked_and_the_status_says_so(server: Server) -> None:
    server.issuer.order_file.unlink()
    look(server.issuer)
    assert server.asked == []
    assert server.status.state is State.SELF_SIGNED
    assert server.status.detail


def test_nothing_is_asked_before_two_thirds_of_the_life_and_then_once(server: Server) -> None:
    server.answers = [_pair()]
    look(server.issuer)
    server.time += dt.timedelta(days=59).total_seconds()
    look(server.issuer)
    assert len(server.asked) == 1
    server.time += dt.timedelta(days=2).total_seconds()
    server.answers = [_pair(_BEGINS + dt.timedelta(days=61))]
    look(server.issuer)
    look(server.issuer)
    assert len(server.asked) == 2


def test_a_short_outage_is_sat_out_and_a_long_one_left_to_the_timer(server: Server) -> None:
    pair = _pair()
    server.answers = [_DOWN, pair]
    look(server.issuer)
    assert server.served == pair
    assert server.time == _BEGINS.timestamp() + due.PAUSES[0]

    server.time = server.status.next_attempt
    before = server.served
    server.answers = [_DOWN, _DOWN]
    look(server.issuer)
    assert server.answers == []
    assert server.status.failures == 2
    assert server.served == before


def test_who_presses_gets_one_attempt_whatever_is_served(server: Server) -> None:
    server.answers = [_pair(), _pair(), _DOWN]
    look(server.issuer)
    look(server.issuer, forced=True)
    assert server.answers == [_DOWN]
    look(server.issuer, forced=True)
    assert server.status.state is State.UNREACHABLE


def test_a_certificate_that_was_not_taken_up_is_kept_and_offered_again_without_asking(server: Server) -> None:
    pair = _pair()
    server.answers = [pair]
    server.word = ConfigurationResult(outcome=ConfigurationResult.OUTCOME_ROLLED_BACK, detail="port 993 is shut")
    look(server.issuer)
    assert server.status.state is State.NOT_TAKEN
    assert "port 993 is shut" in server.status.detail
    assert server.issuer.pending_file.stat().st_mode & 0o777 == 0o600

    server.time = server.status.next_attempt
    server.word = ConfigurationResult(outcome=ConfigurationResult.OUTCOME_APPLIED)
    look(server.issuer)
    assert server.served == pair
    assert len(server.asked) == 1


def test_a_certificate_that_the_root_half_refuses_is_not_offered_again(server: Server) -> None:
    server.answers = [_pair()]
    server.word = ConfigurationResult(outcome=ConfigurationResult.OUTCOME_REFUSED, detail="it is for another key")
    look(server.issuer, forced=True)
    assert not server.issuer.pending_file.exists()


def test_a_root_half_that_is_away_costs_no_certificate(server: Server) -> None:
    server.answers = [_pair()]
    server.word = NoAnswer("the root half did not answer")
    look(server.issuer, forced=True)
    assert server.status.state is State.NOT_TAKEN
    assert server.issuer.pending_file.exists()


def test_a_damaged_memory_is_no_memory(server: Server) -> None:
    server.issuer.status_file.write_text('{"state": "elsewhere"}')
    server.answers = [_pair()]
    look(server.issuer)
    assert server.status.state is State.ISSUED


def test_an_order_that_is_placed_while_a_failure_is_sat_out_counts_at_once(server: Server) -> None:
    server.answers = [_DOWN, _pair()]
    issuer = dataclasses.replace(
        server.issuer, sleep=lambda _: server.order(**{**_ORDER, "directory_url": "https://other.example/dir"})
    )
    look(issuer)
    assert [order.directory_url for order in server.asked] == ["https://acme.example/dir", "https://other.example/dir"]


def test_a_command_has_the_authority_asked_once_whatever_is_served(server: Server) -> None:
    server.answers = [_pair(), _pair()]
    look(server.issuer)
    server.time += 60
    server.ask_by_command(renew_at=server.time)
    server.time += 1
    look(server.issuer)
    look(server.issuer)
    assert len(server.asked) == 2
    assert server.status.state is State.ISSUED


def test_nobody_is_asked_while_the_port_is_shut_and_the_status_says_so(server: Server) -> None:
    server.order(**_ORDER, port_on_request=True)
    look(server.issuer)
    waiting = server.status
    assert (waiting.state, waiting.next_attempt) == (State.WAITING_FOR_PORT, server.time)
    server.time += 60
    look(server.issuer)
    assert (server.asked, server.status) == ([], waiting)

    server.ask_by_command(port_at=server.time, port_until=server.time + 240)
    pair = _pair()
    server.answers = [pair]
    server.time += 1
    look(server.issuer)
    assert (server.served, server.status.state) == (pair, State.ISSUED)


def test_an_opening_is_good_for_one_attempt_and_not_for_ever(server: Server) -> None:
    server.order(**_ORDER, port_on_request=True)
    server.ask_by_command(port_at=server.time - 300, port_until=server.time - 60)
    look(server.issuer)
    assert server.status.state is State.WAITING_FOR_PORT

    server.ask_by_command(port_at=server.time, port_until=server.time + 240)
    server.time += 1
    server.answers = [_DOWN, _pair()]
    look(server.issuer)
    assert len(server.answers) == 1
    assert (server.status.state, server.status.failures) == (State.WAITING_FOR_PORT, 1)


def test_a_renewal_by_command_waits_for_the_port_too(server: Server) -> None:
    server.order(**_ORDER, port_on_request=True)
    server.ask_by_command(port_at=server.time, port_until=server.time + 240)
    server.time += 1
    server.answers = [_pair(), _pair()]
    look(server.issuer)
    server.time += 1
    server.ask_by_command(port_at=server.time - 2, port_until=server.time + 240, renew_at=server.time)
    look(server.issuer)
    assert len(server.answers) == 1
    assert server.status.state is State.WAITING_FOR_PORT
    server.ask_by_command(port_at=server.time, port_until=server.time + 240, renew_at=server.time)
    server.time += 1
    look(server.issuer)
    assert server.answers == []
    assert server.status.failures == 0


def test_no_port_is_wanted_for_a_certificate_that_is_there_or_on_a_day_that_is_spent(server: Server) -> None:
    server.order(**_ORDER, port_on_request=True)
    server.issuer.pending_file.write_bytes(_pair().packed)
    look(server.issuer)
    assert (server.asked, server.status.state) == ([], State.ISSUED)

    attempts = (server.time - 1,) * due.MOST_ATTEMPTS
    write_status(server.issuer.status_file, dataclasses.replace(server.status, attempts=attempts))
    server.ask_by_command(renew_at=server.time)
    look(server.issuer)
    assert server.status.state is State.SPENT


@pytest.mark.parametrize("content", ["", "[]", '{"renew_at": "soon"}', '{"elsewhere": 1}'])
def test_a_damaged_wish_is_none(server: Server, content: str) -> None:
    server.answers = [_pair()]
    look(server.issuer)
    server.issuer.asked_file.write_text(content)
    look(server.issuer)
    assert len(server.asked) == 1


def test_a_name_that_is_refused_keeps_the_host_from_no_certificate(server: Server) -> None:
    server.issuer.order_file.write_text(json.dumps({**_ORDER, "further_names": ["mta-sts.shop.example"]}))
    refused, alone = Failure(State.REFUSED, "mta-sts.shop.example leads elsewhere"), _pair()
    server.answers = [refused, alone]
    look(server.issuer)

    assert [order.names for order in server.asked] == [(_HOST, "mta-sts.shop.example"), (_HOST,)]
    assert server.served == alone

    both = issued(_HOST, _BEGINS, dt.timedelta(days=90), ("mta-sts.shop.example",))
    server.answers = [both]
    look(server.issuer)
    look(server.issuer)
    assert server.served == both
    assert len(server.asked) == 3


def test_names_that_are_not_certified_are_told_until_they_are(server: Server) -> None:
    server.issuer.order_file.write_text(json.dumps({**_ORDER, "further_names": ["mta-sts.shop.example"]}))
    refused, alone = Failure(State.REFUSED, "mta-sts.shop.example leads elsewhere"), _pair()
    server.answers = [refused, alone]
    look(server.issuer)
    assert (server.status.state, server.status.missing) == (State.ISSUED, ("mta-sts.shop.example",))

    # Tried again and refused again: that is what is told, for mail goes on with what is served.
    server.answers = [refused] * 2
    look(server.issuer)
    assert (server.status.state, server.status.missing) == (State.REFUSED, ("mta-sts.shop.example",))
    assert server.served == alone

    server.time = server.status.next_attempt
    server.answers = [issued(_HOST, _BEGINS, dt.timedelta(days=90), ("mta-sts.shop.example",))]
    look(server.issuer)
    assert (server.status.state, server.status.missing, server.status.failures) == (State.ISSUED, (), 0)
    assert server.status.certified == ("mta-sts.shop.example",)


def test_what_failed_for_a_name_that_is_not_wanted_any_more_is_over(server: Server) -> None:
    server.issuer.order_file.write_text(json.dumps({**_ORDER, "further_names": ["mta-sts.shop.example"]}))
    refused = Failure(State.REFUSED, "mta-sts.shop.example leads elsewhere")
    server.answers = [refused, _pair(), refused, refused]
    look(server.issuer)
    look(server.issuer)
    assert server.status.failures

    server.order(**_ORDER)
    look(server.issuer)
    assert (server.status.state, server.status.missing, server.status.failures) == (State.ISSUED, (), 0)
    assert len(server.asked) == 4


def test_a_renewal_that_failed_is_still_told_of_while_the_order_is_the_same(server: Server) -> None:
    server.answers = [_pair(), _DOWN]
    look(server.issuer)
    look(server.issuer, forced=True)
    look(server.issuer)
    assert (server.status.state, server.status.failures) == (State.UNREACHABLE, 1)
