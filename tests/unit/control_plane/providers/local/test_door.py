import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import validate_call

from control_plane.providers.base import PowerState, ProviderBusy, ProviderError, ProviderServer
from control_plane.providers.local.door import Method, reply_to
from control_plane.providers.local.rpc import result_in

SERVER = ProviderServer("id", "vps-1", "10.77.1.1", PowerState.RUNNING, 1, 2, 3, None)


async def find(name: str) -> ProviderServer | None:
    return SERVER if name == "vps-1" else None


async def full() -> None:
    raise ProviderError("out of addresses")


async def locked() -> None:
    raise ProviderBusy("try again")


METHODS: dict[str, Method] = {each.__name__: validate_call(each) for each in (find, full, locked)}


def request(method: str, **params: object) -> bytes:
    return json.dumps({"method": method, "params": params}).encode()


async def test_a_result_comes_back_as_plain_values() -> None:
    found = result_in(await reply_to(request("find", name="vps-1"), METHODS))
    assert isinstance(found, dict)
    assert found["name"] == "vps-1"
    assert found["power"] == "running"
    assert result_in(await reply_to(request("find", name="other"), METHODS)) is None


async def test_an_error_is_raised_again_as_what_it_was() -> None:
    with pytest.raises(ProviderError, match="out of addresses") as refused:
        result_in(await reply_to(request("full"), METHODS))
    assert not isinstance(refused.value, ProviderBusy)
    with pytest.raises(ProviderBusy, match="try again"):
        result_in(await reply_to(request("locked"), METHODS))


async def test_wrong_arguments_are_named_without_their_values() -> None:
    with pytest.raises(ProviderError, match=r"wrong arguments for find: .*nome: Unexpected") as refused:
        result_in(await reply_to(request("find", nome="join-token"), METHODS))
    assert "join-token" not in str(refused.value)


@given(st.binary() | st.builds(lambda value: json.dumps(value).encode(), st.dictionaries(st.text(), st.integers())))
async def test_what_is_no_request_is_refused_with_the_methods_there_are(line: bytes) -> None:
    with pytest.raises(ProviderError, match="not a request; methods: find, full, locked"):
        result_in(await reply_to(line, METHODS))


@pytest.mark.parametrize("line", [b"", b'{"result": 1'])
def test_half_an_answer_means_that_the_deed_may_have_been_done(line: bytes) -> None:
    with pytest.raises(ProviderBusy, match="hung up"):
        result_in(line)
