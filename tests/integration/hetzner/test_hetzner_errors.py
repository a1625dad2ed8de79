"""Every error of the published API, and what the adapter makes of it: four ways to go on and no other."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from control_plane.providers.base import NeedsPerson, NoCapacity, ProviderBusy, ProviderError
from tests.fakes.hetzner.catalogue import EU, KINDS
from tests.fakes.hetzner.errors import STATUS
from tests.fakes.hetzner.faults import Fault
from tests.integration.hetzner.ground import NAME, ORDER, Ground, adapter, ground

BUSY = {
    "rate_limit_exceeded",
    "conflict",
    "locked",
    "must_be_unassigned",
    "timeout",
    "bad_gateway",
    "unavailable",
    "service_error",
    "server_error",
    "maintenance",
}
PERSON = {
    "unauthorized",
    "token_readonly",
    "forbidden",
    "resource_limit_exceeded",
    "protected",
    "deprecated_api_endpoint",
}
NEXT = {"resource_unavailable", "placement_error"}
#: The rest is refused; a uniqueness error without a server of that name is one of them.
REFUSED = set(STATUS) - BUSY - PERSON - NEXT


@pytest.fixture
def here() -> Iterator[Ground]:
    with ground() as prepared:
        yield prepared


@pytest.fixture
def slow() -> Iterator[Ground]:
    with ground(action_seconds=10.0) as prepared:
        yield prepared


async def failure(here: Ground, code: str) -> ProviderError:
    here.fake.script.add(Fault("POST", "/servers", refuse=code))
    with pytest.raises(ProviderError) as caught:
        await here.provider.create(ORDER)
    assert here.fake.project.costs.servers_created == 0
    return caught.value


@pytest.mark.parametrize("code", sorted(BUSY))
async def test_what_passes_is_tried_again_later_and_makes_one_server(here: Ground, code: str) -> None:
    error = await failure(here, code)
    assert type(error) is ProviderBusy
    assert 1.0 <= error.seconds <= 60.0
    assert here.fake.project.costs.posts + len(here.fake.requests("POST", "/servers")) == 1
    await here.made()
    assert here.fake.project.costs.servers_created == 1


@pytest.mark.parametrize("code", sorted(PERSON))
async def test_what_a_person_has_to_mend_waits_with_a_sentence_that_says_how(here: Ground, code: str) -> None:
    error = await failure(here, code)
    assert type(error) is NeedsPerson
    assert any(verb in str(error) for verb in ("make one", "delete what", "take the protection", "upgrade"))
    await here.made()
    assert here.fake.project.costs.servers_created == 1


@pytest.mark.parametrize("code", sorted(REFUSED))
async def test_the_rest_is_refused_with_hetzners_words(here: Ground, code: str) -> None:
    error = await failure(here, code)
    assert type(error) is ProviderError
    assert f"[{code}]" in str(error)


@pytest.mark.parametrize("code", sorted(NEXT))
async def test_what_is_not_to_be_had_moves_on_to_the_next_choice(here: Ground, code: str) -> None:
    here.fake.script.add(Fault("POST", "/servers", refuse=code, times=2))
    await here.provider.create(ORDER)
    asked = [(seen.body["server_type"], seen.body["location"]) for seen in here.fake.requests("POST", "/servers")]
    assert asked == [("cx23", "fsn1"), ("cx23", "nbg1"), ("cx23", "hel1")]
    (server,) = here.fake.project.servers.values()
    assert server["location"]["name"] == "hel1"
    assert {each["location"]["name"] for each in here.fake.project.primary_ips.values()} == {"hel1"}


async def test_the_same_type_elsewhere_comes_before_a_dearer_one_here(here: Ground) -> None:
    here.fake.project.sold_out |= {("cx23", "fsn1"), ("cx23", "nbg1"), ("cx23", "hel1")}
    await here.provider.create(ORDER)
    (server,) = here.fake.project.servers.values()
    assert (server["server_type"]["name"], server["location"]["name"]) == ("cx33", "fsn1")


async def test_when_all_choices_are_sold_out_it_waits_and_no_address_is_doubled(here: Ground) -> None:
    here.fake.project.sold_out |= {(kind.name, place) for kind in KINDS for place in kind.locations}
    with pytest.raises(NoCapacity, match="nothing is to be had in eu"):
        await here.provider.create(ORDER)
    assert len(here.fake.requests("POST", "/servers")) == 8
    assert len(here.fake.project.primary_ips) == 2
    here.fake.project.sold_out.clear()
    await here.provider.create(ORDER)
    assert here.fake.project.costs.servers_created == 1
    assert len(here.fake.project.primary_ips) == 2


async def test_what_the_catalogue_marks_unavailable_is_not_asked_for(here: Ground) -> None:
    here.fake.project.kinds = [replace(kind, unavailable=EU) for kind in KINDS]
    with pytest.raises(NoCapacity, match="marked available"):
        await here.provider.create(ORDER)
    assert here.fake.requests("POST", "/servers") == []


async def test_addresses_that_are_not_to_be_had_at_a_location_move_on_too(here: Ground) -> None:
    fault = Fault("POST", "/primary_ips", refuse="resource_unavailable", holding={"location": "fsn1"})
    here.fake.script.add(fault)
    await here.provider.create(ORDER)
    (server,) = here.fake.project.servers.values()
    assert server["location"]["name"] == "nbg1"


async def test_the_fields_that_were_wrong_are_named(here: Ground) -> None:
    details = {"fields": [{"name": "image", "messages": ["is not known", "is too old"]}]}
    here.fake.script.add(Fault("POST", "/servers", refuse="invalid_input", message="invalid input", details=details))
    with pytest.raises(ProviderError, match="image: is not known, is too old"):
        await here.provider.create(ORDER)


async def test_the_limit_that_was_reached_is_named(here: Ground) -> None:
    here.fake.project.most_primary_ips = 1
    with pytest.raises(NeedsPerson, match="primary_ip_limit"):
        await here.provider.create(ORDER)
    here.fake.project.most_primary_ips = 2
    await here.made()
    assert len(here.fake.project.primary_ips) == 2


async def test_an_unknown_error_code_is_refused(here: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STATUS, "brand_new_code", 422)
    error = await failure(here, "brand_new_code")
    assert type(error) is ProviderError


async def test_a_wrong_token_waits_for_a_person_and_is_shown_nowhere(
    here: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "a-very-secret-token-of-a-project"
    provider = adapter(here.fake, token=secret)
    with pytest.raises(NeedsPerson, match="PENGUIN_HETZNER_TOKEN") as caught:
        await provider.find(NAME)
    assert secret not in f"{caught.value!r} {provider!r} {caplog.text}"


async def test_a_token_that_may_only_read_waits_for_a_person(here: Ground) -> None:
    here.fake.read_only_tokens.add("reader")
    provider = adapter(here.fake, token="reader")
    assert await provider.find(NAME) is None
    with pytest.raises(NeedsPerson, match="may only read"):
        await provider.create(ORDER)


async def test_a_create_whose_action_fails_is_told_as_a_fault_and_can_be_deleted(slow: Ground) -> None:
    failed = ("server_error", "the host went away")
    slow.fake.script.add(Fault("POST", "/servers", fail_action=failed))
    await slow.provider.create(ORDER)
    slow.clock.seconds += 10.0
    found = await slow.provider.find(NAME)
    assert found is not None
    assert found.progress is None
    assert found.fault is not None
    assert "the host went away [server_error]" in found.fault
    await slow.until_done(lambda: slow.provider.delete(NAME))
    assert slow.fake.project.servers == {}
    assert slow.fake.project.primary_ips == {}


async def test_a_rebuild_that_fails_is_told(slow: Ground) -> None:
    await slow.made()
    fault = Fault("POST", r"/servers/\d+/actions/rebuild", fail_action=("image_gone", "no such image any more"))
    slow.fake.script.add(fault)
    with pytest.raises(ProviderBusy, match="rebuilding"):
        await slow.provider.rebuild(NAME, "#cloud-config\n", 1)
    slow.clock.seconds += 10.0
    with pytest.raises(ProviderError, match="no such image any more"):
        await slow.provider.rebuild(NAME, "#cloud-config\n", 1)
    # Who was told and comes again has put it right.
    await slow.until_done(lambda: slow.provider.rebuild(NAME, "#cloud-config\n", 1))
    assert sum(seen.path.endswith("/actions/rebuild") for seen in slow.fake.seen) == 2


async def test_a_locked_server_is_come_back_to(slow: Ground) -> None:
    await slow.provider.create(ORDER)
    with pytest.raises(ProviderBusy, match="locked"):
        await slow.provider.reboot(NAME)
    await slow.until_done(lambda: slow.provider.reboot(NAME))
