"""Questions about servers: read, refused, and made into SQL without a piece of their text."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from control_plane.errors import InvalidInput
from control_plane.monitoring.expressions import (
    TEXTS,
    Both,
    Comparison,
    Either,
    Expression,
    Not,
    condition,
    parse,
    render,
)
from control_plane.monitoring.metrics import NAMES

DIALECT = create_engine("postgresql+psycopg://").dialect
OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
NUMBERS = st.integers(-(10**9), 10**9).map(lambda thousandths: thousandths / 1000)
COMPARISONS = st.one_of(
    st.builds(Comparison, st.sampled_from(NAMES), OPERATORS, NUMBERS),
    st.builds(
        Comparison,
        st.sampled_from(TEXTS),
        OPERATORS,
        st.text(st.characters(exclude_characters="'\0", codec="utf-8"), max_size=8),
    ),
)
EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.builds(Not, inner) | st.builds(Both, inner, inner) | st.builds(Either, inner, inner),
    max_leaves=4,
)


def sql(expression: Expression) -> tuple[str, dict[str, object]]:
    compiled = condition(expression).compile(dialect=DIALECT)
    return str(compiled), dict(compiled.params)


def test_and_binds_closer_than_or_and_brackets_closest() -> None:
    a, b, c = (Comparison("load_1m", ">", float(number)) for number in (1, 2, 3))
    assert parse("load_1m > 1 or load_1m > 2 and load_1m > 3") == Either(a, Both(b, c))
    assert parse("(load_1m>1 or load_1m>2)and not load_1m>3") == Both(Either(a, b), Not(c))


@given(EXPRESSIONS)
def test_what_is_written_reads_as_what_it_was_made_of(expression: Expression) -> None:
    question = render(expression)
    if len(question) <= 500:
        assert parse(question) == expression


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["load_1m", "provider", "=", ">", "(", ")", "and", "or", "not", "1", "'x'"])).map(
        " ".join
    )
)
def test_any_text_is_read_or_refused(question: str) -> None:
    with contextlib.suppress(InvalidInput):
        sql(parse(question))


@given(EXPRESSIONS)
def test_sql_is_the_same_for_whatever_values(expression: Expression) -> None:
    statement, parameters = sql(expression)
    assert statement == sql(_with_other_values(expression))[0]
    for value in _values(expression):
        assert value in parameters.values()


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("", "ends where a name was expected"),
        ("load_1m", "an operator"),
        ("load_1m > 'x'", "a number was expected at character 11"),
        ("provider = 1", "text between single quotes"),
        ("password = 'x'", "`password` is not known"),
        ("load_1m > 1; drop table vps_servers", "cannot be read from character 12 on"),
        ("(load_1m > 1", "`)`"),
        ("load_1m > 1 load_1m", "`and`, `or`, or the end"),
        ("not " * 30 + "load_1m > 1", "20 deep"),
        ("x" * 501, "500"),
    ],
)
def test_what_cannot_be_read_is_told(question: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(question)
    assert words in str(refused.value)


def _values(expression: Expression) -> list[object]:
    match expression:
        case Comparison(_, _, value):
            return [value]
        case Not(of):
            return _values(of)
        case Both(left, right) | Either(left, right):
            return _values(left) + _values(right)


def _with_other_values(expression: Expression) -> Expression:
    match expression:
        case Comparison(name, operator, value):
            return Comparison(name, operator, "another" if isinstance(value, str) else 123456.0)
        case Not(of):
            return Not(_with_other_values(of))
        case Both(left, right):
            return Both(_with_other_values(left), _with_other_values(right))
        case Either(left, right):
            return Either(_with_other_values(left), _with_other_values(right))
