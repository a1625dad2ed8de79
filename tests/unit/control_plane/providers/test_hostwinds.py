"""What is decided of Hostwinds' answers, prices and servers before anything is asked for."""

import contextlib
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from control_plane.providers.base import Capability, NeedsPerson, NoCapacity, ProviderBusy, ProviderError
from control_plane.providers.hostwinds.catalogue import Allowance, Plan, choose, read_plans
from control_plane.providers.hostwinds.client import Access, rendered
from control_plane.providers.hostwinds.envelope import Refusal, Unreadable, read_envelope
from control_plane.providers.hostwinds.provider import HostwindsProvider
from control_plane.providers.hostwinds.ssh import Login, known_as, ssh_command
from control_plane.providers.hostwinds.view import view

PLAN = Plan("12", "Unmanaged 2", 1, 2 << 30, 50 << 30, Decimal("9.99"))


@pytest.mark.parametrize(
    ("answer", "objects"),
    [
        ([{"serviceid": 1}, {"serviceid": 2}], [{"serviceid": 1}, {"serviceid": 2}]),
        ({"serviceid": 1}, [{"serviceid": 1}]),
        ({"success": {"11": {"rid": "11"}, "12": {"rid": "12"}}}, [{"rid": "11"}, {"rid": "12"}]),
        ({"success": [{"rid": "11"}]}, [{"rid": "11"}]),
        ({"success": True}, []),
        ([], []),
        ([{"result": "success", "message": "done"}], [{"result": "success", "message": "done"}]),
    ],
)
def test_each_shape_of_an_answer_is_read(answer: object, objects: object) -> None:
    assert read_envelope(json.dumps(answer).encode()) == objects


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[{"result":"error","action":"x","message":"A valid serviceid is required.","ERROR":"721334"}]', "721334"),
        (b'{"error": "no prices"}', "no prices"),
        (b'{"result": "error", "message": "no"}', "no"),
        (b"Not Authorized!", "Not Authorized"),
        (b'"Not Authorized!"', "Not Authorized"),
    ],
)
def test_each_shape_of_an_error_is_a_refusal_although_http_says_200(content: bytes, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        read_envelope(content)
    assert not refused.value.partly_done


def test_an_error_beside_a_paid_invoice_does_not_count_as_nothing_done() -> None:
    answer = [{"result": "success", "action": "Invoice Paid"}, {"result": "error", "message": "no capacity"}]
    with pytest.raises(Refusal) as refused:
        read_envelope(json.dumps(answer).encode())
    assert refused.value.partly_done


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_noise_is_no_answer(content: bytes) -> None:
    with contextlib.suppress(Refusal, Unreadable):
        assert read_envelope(content) == []


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Not Authorized!", NeedsPerson),
        ("Insufficient account balance.", NeedsPerson),
        ("Too many requests, try again later", ProviderBusy),
        ("A valid serviceid is required.", ProviderError),
    ],
)
def test_words_decide_what_a_refusal_means(message: str, kind: type[ProviderError]) -> None:
    assert type(rendered(Refusal(message))) in {kind, *kind.__subclasses__()}


def test_the_cheapest_plan_that_is_large_enough_is_chosen_and_others_are_passed_over() -> None:
    priced = [
        {"rid": 13, "name": "large", "ram": "4 GB", "cpu": "2", "disk": "75", "monthly": "$18.99"},
        {"rid": 12, "name": "fits", "ram": "2", "cpu": "1", "disk": "50", "monthly": "9.99"},
        {"rid": 11, "name": "small", "ram": "1", "cpu": "1", "disk": "30", "monthly": "4.99"},
        {"rid": 10, "name": "free", "ram": "8", "cpu": "8", "disk": "900", "monthly": "0.00"},
        {"rid": 9, "name": "custom", "ram": None, "cpu": "1", "disk": "30", "monthly": "1.00"},
    ]
    plans = read_plans(priced)
    assert choose("starter", plans).name == "fits"
    assert choose("professional", plans).name == "large"
    with pytest.raises(NoCapacity):
        choose("enterprise", plans)
    with pytest.raises(ProviderError, match="unknown size"):
        choose("gigantic", plans)


def test_memory_is_read_in_gigabytes_or_megabytes() -> None:
    entry = {"rid": 1, "cpu": "1", "disk": "50", "monthly": "9.99"}
    (small, large) = read_plans([{**entry, "ram": "2"}, {**entry, "rid": 2, "ram": "2048"}])
    assert small.memory_bytes == large.memory_bytes == 2 << 30


@pytest.mark.parametrize(
    ("allowance", "words"),
    [
        (Allowance(opted_in=False, per_server=Decimal(99), in_all=Decimal(999)), "PENGUIN_HOSTWINDS_SPENDING=true"),
        (Allowance(opted_in=True, per_server=Decimal("9.98"), in_all=Decimal(999)), "9.99 USD a month, more than"),
    ],
)
def test_a_plan_that_is_not_allowed_is_refused_with_what_to_set(allowance: Allowance, words: str) -> None:
    with pytest.raises(ProviderError, match=words):
        allowance.check_plan(PLAN)


@pytest.mark.parametrize(
    ("state", "progress", "faulty"),
    [
        ({"vm_state": "active", "main_ip": "198.51.100.1"}, None, False),
        ({"vm_state": "active", "main_ip": None}, 50, False),
        ({"vm_state": "active", "main_ip": "198.51.100.1", "task_state": "spawning"}, 50, False),
        ({"vm_state": "building"}, 50, False),
        ({"vm_state": "error"}, None, True),
    ],
)
def test_a_server_is_made_when_it_is_active_and_has_an_address(
    state: dict[str, object], progress: int | None, faulty: bool
) -> None:
    made = view({"serviceid": 1, "srvrname": "pm-1", "password": "hidden", **state}, None)
    assert (made.progress, made.fault is not None) == (progress, faulty)
    assert "hidden" not in repr(made)


def test_nothing_is_known_of_ipv6_there_so_nothing_is_sent_over_it() -> None:
    made = view({"serviceid": 1, "srvrname": "pm-1", "vm_state": "active", "main_ip": "198.51.100.1"}, None)
    assert made.ipv6_address is None
    assert Capability.REVERSE_DNS_V6 not in HostwindsProvider.capabilities


def test_ssh_takes_nothing_from_this_machine_and_refuses_a_changed_host_key() -> None:
    command = ssh_command(Login(Path("/k"), Path("/h")), "pm-1", "198.51.100.1")
    assert command[:5] == ["ssh", "-F", "/dev/null", "-i", "/k"]
    assert "StrictHostKeyChecking=accept-new" in command
    assert "HostKeyAlias=pm-1" in command
    assert command[-4:] == ["--", "root@198.51.100.1", "python3", "-"]


def test_a_server_that_was_installed_anew_shows_another_host_key_under_another_name() -> None:
    assert [known_as("pm-1", generation) for generation in (0, 1, 2)] == ["pm-1", "pm-1-rebuilt-1", "pm-1-rebuilt-2"]


def test_the_key_does_not_show() -> None:
    assert "s3cret" not in repr(Access("https://x", SecretStr("s3cret")))
