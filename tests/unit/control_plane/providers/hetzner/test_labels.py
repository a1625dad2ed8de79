import pytest
from hcloud.helpers.labels import LabelValidator
from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.base import ProviderError
from control_plane.providers.hetzner.labels import INSTANCE, checked, instance_label, refuse_foreign


@given(st.text())
def test_whatever_the_platform_is_called_its_label_is_valid_and_its_own(domain: str) -> None:
    label = instance_label(domain)
    assert LabelValidator.validate({INSTANCE: label})
    assert label == domain or len(label) == 32


def test_long_names_that_begin_alike_are_told_apart() -> None:
    first, second = (instance_label("a" * 70 + end) for end in "xy")
    assert first != second


@pytest.mark.parametrize("labels", [{"a b": "c"}, {"a": "ä"}, {"a": "x" * 64}, {"a": "-"}])
def test_invalid_labels_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ProviderError, match="not correctly formatted"):
        checked(labels)


@pytest.mark.parametrize("labels", [None, {}, {INSTANCE: "other.example"}])
def test_what_has_not_our_label_is_not_ours(labels: dict[str, str] | None) -> None:
    with pytest.raises(ProviderError, match="the server pm-1 exists"):
        refuse_foreign("the server pm-1", labels, "penguin.example")


def test_what_has_our_label_is_ours() -> None:
    refuse_foreign("the server pm-1", {INSTANCE: "penguin.example"}, "penguin.example")
