"""Every starting situation, decided and read."""

import datetime as dt
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.identity.key import make_key, signing_request
from agent.identity.starting import CertificateState, Found, KeyState, Start, decide, look
from agent.identity.store import Enrolment, IdentityStore
from tests.fakes.hub import FakeAuthority

NOW = dt.datetime.now(dt.UTC)
HOUR = dt.timedelta(hours=1)

situations = st.builds(Found, st.sampled_from(KeyState), st.sampled_from(CertificateState), st.booleans())


@given(situations)
def test_every_situation_is_decided_with_a_reason(found: Found) -> None:
    assert decide(found).reason


@given(situations)
def test_only_an_agent_with_a_usable_pair_connects(found: Found) -> None:
    usable = found.key is KeyState.PRESENT and found.certificate in {CertificateState.CURRENT, CertificateState.EXPIRED}
    if decide(found).start is Start.CONNECT:
        assert usable


@given(situations)
def test_a_join_token_is_never_ignored_by_stopping_and_never_invented(found: Found) -> None:
    start = decide(found).start
    assert start is not (Start.STOP if found.join_token else Start.ENROL)


def test_every_situation_that_differs_has_a_sentence_of_its_own() -> None:
    with_key = [
        decide(Found(KeyState.PRESENT, certificate, token)).reason
        for certificate, token in itertools.product(CertificateState, (True, False))
    ]
    assert len(set(with_key)) == len(with_key)


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path / "identity")


def enrol(store: IdentityStore, csr_der: bytes, age: dt.timedelta) -> None:
    certificate = FakeAuthority().agent(csr_der, "vps-1", age, 24 * HOUR)
    store.save(Enrolment(certificate, b"", "127.0.0.1:1", "vps-1"))


def test_an_empty_folder_holds_nothing(store: IdentityStore) -> None:
    assert look(store, join_token=True, now=NOW) == Found(KeyState.MISSING, CertificateState.MISSING, join_token=True)


@pytest.mark.parametrize(("age", "state"), [(HOUR, CertificateState.CURRENT), (25 * HOUR, CertificateState.EXPIRED)])
def test_a_certificate_of_this_key_is_judged_by_its_end(
    store: IdentityStore, age: dt.timedelta, state: CertificateState
) -> None:
    enrol(store, signing_request(make_key(store.key_file)), age)
    assert look(store, join_token=False, now=NOW) == Found(KeyState.PRESENT, state, join_token=False)


def test_a_certificate_of_another_key_is_foreign(store: IdentityStore) -> None:
    enrol(store, signing_request(make_key(store.key_file)), HOUR)
    make_key(store.key_file)
    assert look(store, join_token=False, now=NOW).certificate is CertificateState.FOREIGN


def test_damaged_files_are_told_from_missing_ones(store: IdentityStore) -> None:
    store.key_file.write_bytes(b"-----BEGIN PRIVATE KEY-----\nhalf")
    (store.key_file.parent / "enrolment.json").write_bytes(b'{"certificate_pem": ')
    found = look(store, join_token=False, now=NOW)
    assert found == Found(KeyState.UNREADABLE, CertificateState.UNREADABLE, join_token=False)


def test_a_certificate_without_its_key_is_seen(store: IdentityStore) -> None:
    enrol(store, signing_request(make_key(store.key_file)), HOUR)
    store.key_file.unlink()
    assert look(store, join_token=False, now=NOW).key is KeyState.MISSING
