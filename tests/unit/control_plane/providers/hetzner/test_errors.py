import pytest
from hcloud import APIException
from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.base import NeedsPerson, NoCapacity, ProviderBusy, ProviderError
from control_plane.providers.hetzner.errors import ChoiceUnavailable, rendered

anything = st.none() | st.integers() | st.text() | st.lists(st.integers() | st.text(), max_size=2)
entries = st.lists(anything | st.fixed_dictionaries({}, optional={"name": anything, "messages": anything}), max_size=2)
details = anything | st.fixed_dictionaries({}, optional={"fields": anything | entries, "limits": anything | entries})


@given(st.text() | st.integers(), st.text(), details)
def test_whatever_comes_is_one_of_four(code: str | int, message: str, found: object) -> None:
    error = rendered(APIException(code, message, found))
    assert type(error) in {ProviderBusy, NeedsPerson, ChoiceUnavailable, ProviderError}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, ProviderBusy), (429, ProviderBusy), (502, ProviderBusy), (504, ProviderBusy), (418, ProviderError)],
)
def test_a_status_without_a_code_leaves_open_what_was_done_unless_it_refuses(
    status: int, kind: type[ProviderError]
) -> None:
    assert type(rendered(APIException(status, "?", {"content": b""}))) is kind


@pytest.mark.parametrize(("error", "kind"), [(NoCapacity("x"), ProviderBusy), (NeedsPerson("x"), ProviderBusy)])
def test_what_may_work_later_is_waited_for_by_every_step(error: ProviderError, kind: type[ProviderError]) -> None:
    assert isinstance(error, kind)
