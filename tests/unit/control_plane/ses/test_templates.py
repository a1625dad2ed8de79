import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import InvalidInput
from control_plane.ses.templates import parse_data, render

DATA = {"name": "Anna", "order": {"id": 7, "paid": True}, "html": "<b>&</b>", "list": [1]}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Dear {{name}},", "Dear Anna,"),
        ("{{ order.id }}/{{order.paid}}", "7/true"),
        ("{{html}} {{{html}}}", "<b>&</b> <b>&</b>"),
        ("{ name } }}{{name}}{{name}}", "{ name } }}AnnaAnna"),
    ],
)
def test_names_stand_for_values_as_they_are(template: str, text: str) -> None:
    assert render(template, DATA, "/x") == text


@pytest.mark.parametrize(
    "template",
    ["{{nobody}}", "{{order}}", "{{list}}", "{{name.first}}", "{{#each list}}x{{/each}}", "{{>part}}", "{{}}"],
)
def test_what_has_no_value_or_is_more_than_a_name_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput):
        render(template, DATA, "/x")


@given(st.text())
def test_a_value_is_never_a_template(text: str) -> None:
    assert render("<{{text}}>", {"text": text}, "/x") == f"<{text}>"


@pytest.mark.parametrize("data", ["", "[]", "1", "{", "[" * 100_000])
def test_data_is_an_object(data: str) -> None:
    with pytest.raises(InvalidInput):
        parse_data(data, "/x")
