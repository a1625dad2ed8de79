"""Having a milter sign; the fake one says what opendkim 2.11 of Debian 12 and 13 says."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.configuration.milter import MilterFailed, fields_added
from agent.configuration.signing_trial import try_signing
from agent.relay.signing import SigningKey
from agent.relay.verifying import signature_fault
from protos.agent.v1.root_half_pb2 import SignedTrial, TrySigning
from tests.fakes.milter import FakeMilter, running_milter

KEY = SigningKey("shop.example", "pm1", rsa.generate_private_key(65537, 2048))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "milter.sock"


@pytest.fixture
def milter(path: Path) -> Iterator[FakeMilter]:
    with running_milter(path, {"shop.example": KEY}) as milter:
        yield milter


def tried(path: Path, *domains: str) -> list[SignedTrial]:
    return list(try_signing(TrySigning(domains=domains), str(path)).trials)


def test_a_message_of_each_domain_comes_back_as_the_milter_leaves_it(milter: FakeMilter, path: Path) -> None:
    ours, others = tried(path, "shop.example", "other.example")
    assert (ours.domain, signature_fault(ours.message, KEY)) == ("shop.example", "")
    assert others.message.startswith(b"Authentication-Results: mx.example; dkim=none\r\nFrom: postmaster@other.example")
    assert b"".join(milter.heard[: len(milter.heard) // 2]) == b"OCHMRLLLLNBE"


@pytest.mark.parametrize(("letter", "answer"), [(b"C", b"a"), (b"M", b"r"), (b"N", b"t")])
def test_a_milter_that_wants_nothing_more_of_a_message_has_not_signed_it(
    milter: FakeMilter, path: Path, letter: bytes, answer: bytes
) -> None:
    milter.answers[letter] = answer
    [trial] = tried(path, "shop.example")
    assert signature_fault(trial.message, KEY) == "there is no signature"


@pytest.mark.parametrize("letter", [b"O", b"L", b"E"])
def test_a_milter_that_goes_away_leaves_out_that_domain_and_those_after_it(
    milter: FakeMilter, path: Path, letter: bytes
) -> None:
    milter.hangs_up_at = letter
    assert tried(path, "shop.example", "other.example") == []


def test_what_is_no_domain_reaches_no_milter(milter: FakeMilter, path: Path) -> None:
    assert tried(path, "shop.example\r\nTo: x", "shop.example") == []
    assert milter.heard == []


def test_without_a_milter_there_are_no_trials(path: Path) -> None:
    assert tried(path, "shop.example") == []


@pytest.mark.parametrize("words", [b"HTTP", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1c", b"\0\0\0\7O"])
def test_whoever_is_no_milter_is_left(path: Path, words: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=_answer_one, args=(listening, words))
        thread.start()
        with pytest.raises(MilterFailed):
            fields_added(str(path), "a@shop.example", [("From", "a@shop.example")], b"")
        thread.join()


def _answer_one(listening: socket.socket, words: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(words)
