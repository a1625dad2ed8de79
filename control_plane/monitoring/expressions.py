"""Questions about servers in a small language: `deferred_ratio > 0.2 and provider = 'google'`.

    question   = term {"or" term}
    term       = factor {"and" factor}
    factor     = "not" factor | "(" question ")" | name operator value
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">="
    value      = a number, or text between single quotes

A name is a metric (a number) or an attribute (a text). `provider` is a destination: a question that names it is asked
of each destination provider that a server has tried, and what follows from outcomes is then that destination's. Whose
machine a server is, is `cloud`. What is not known of a server is no answer: no comparison with it holds.

SECURITY: anybody's text. It is read into values of the types below; SQL is made of those, with names out of a table and
values as parameters. No piece of the text ever becomes a piece of a statement.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Double, Text, and_, cast, column, func, literal, not_, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from control_plane.errors import InvalidInput
from control_plane.monitoring.metrics import DERIVED, NAMES
from db.models import ServerHealthRow, VpsServer

LONGEST = 500
_DEEPEST = 20

_OPERATORS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ATTRIBUTES: dict[str, ColumnElement[str]] = {
    "cloud": cast(VpsServer.provider, Text),
    "region": cast(VpsServer.region, Text),
    "size": cast(VpsServer.size, Text),
    "hostname": cast(VpsServer.hostname, Text),
    "status": cast(VpsServer.status, Text),
    "version": cast(VpsServer.agent_version, Text),
    "tenant": cast(VpsServer.tenant_id, Text),
    "state": cast(ServerHealthRow.state, Text),
}
PROVIDER = "provider"
TEXTS = (*_ATTRIBUTES, PROVIDER)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d{1,15}(?:\.\d{1,15})?)|'(?P<text>[^']*)'|(?P<word>[a-z_][a-z0-9_]*)"
    r"|(?P<operator><=|>=|!=|<|>|=)|(?P<bracket>[()]))"
)
_WORDS = frozenset({"and", "or", "not"})


@dataclass(frozen=True, slots=True)
class Comparison:
    """A name, compared with a value of its type."""

    name: str
    operator: str
    value: float | str


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when the other does not."""

    of: "Expression"


@dataclass(frozen=True, slots=True)
class Both:
    """Holds when both do."""

    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Either:
    """Holds when one does."""

    left: "Expression"
    right: "Expression"


Expression = Comparison | Not | Both | Either


def parse(question: str) -> Expression:
    """Read a question. Raises `InvalidInput`, which says what is wrong where."""
    if len(question) > LONGEST:
        raise InvalidInput(f"a question has at most {LONGEST} characters", "/where")
    return _Reader(list(_tokens(question))).read()


def render(expression: Expression) -> str:
    """Return a question that reads as this expression."""
    match expression:
        case Comparison(name, sign, float(value)):
            return f"{name} {sign} {value:f}"
        case Comparison(name, sign, value):
            return f"{name} {sign} '{value}'"
        case Not(of):
            return f"not ({render(of)})"
        case Both(left, right):
            return f"({render(left)}) and ({render(right)})"
        case Either(left, right):
            return f"({render(left)}) or ({render(right)})"


def condition(expression: Expression) -> ColumnElement[bool]:
    """Return it as a condition on `vps_servers` joined with `server_health`."""
    if PROVIDER not in set(_names(expression)):
        return _compile(expression, None)
    each = (
        func.jsonb_each(ServerHealthRow.metrics["destinations"])
        .table_valued(column("key", Text), column("value", JSONB), name="destination")
        .render_derived()
    )
    return select(literal(1)).select_from(each).where(_compile(expression, each.c)).exists()


def _compile(expression: Expression, destination: Any) -> ColumnElement[bool]:  # noqa: ANN401 - columns by name
    match expression:
        case Comparison(name, sign, value):
            return _OPERATORS[sign](_column(name, destination), literal(value))
        case Not(of):
            return not_(_compile(of, destination))
        case Both(left, right):
            return and_(_compile(left, destination), _compile(right, destination))
        case Either(left, right):
            return or_(_compile(left, destination), _compile(right, destination))


def _column(name: str, destination: Any) -> ColumnElement[Any]:  # noqa: ANN401 - as above
    if name == PROVIDER:
        key: ColumnElement[Any] = destination.key
        return key
    if name in _ATTRIBUTES:
        return _ATTRIBUTES[name]
    metrics = destination.value if destination is not None and name in DERIVED else ServerHealthRow.metrics
    return cast(metrics[name].astext, Double)


def _names(expression: Expression) -> Iterator[str]:
    match expression:
        case Comparison(name):
            yield name
        case Not(of):
            yield from _names(of)
        case Both(left, right) | Either(left, right):
            yield from _names(left)
            yield from _names(right)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


def _tokens(question: str) -> Iterator[_Token]:
    place, end = 0, len(question.rstrip())
    while place < end:
        found = _TOKEN.match(question, place)
        if found is None or found.lastgroup is None or "\0" in found.group():
            raise InvalidInput(f"cannot be read from character {place + 1} on", "/where")
        blank = len(found.group()) - len(found.group().lstrip())
        yield _Token(found.lastgroup, found.group(found.lastgroup), place + blank + 1)
        place = found.end()


class _Reader:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def read(self) -> Expression:
        expression = self._question()
        if self._next < len(self._tokens):
            raise self._unexpected("`and`, `or`, or the end")
        return expression

    def _question(self) -> Expression:
        expression = self._term()
        while self._take("word", "or"):
            expression = Either(expression, self._term())
        return expression

    def _term(self) -> Expression:
        expression = self._factor()
        while self._take("word", "and"):
            expression = Both(expression, self._factor())
        return expression

    def _factor(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidInput(f"a question is at most {_DEEPEST} deep", "/where")
        try:
            if self._take("word", "not"):
                return Not(self._factor())
            if self._take("bracket", "("):
                expression = self._question()
                if not self._take("bracket", ")"):
                    raise self._unexpected("`)`")
                return expression
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Comparison:
        name = self._take("word")
        if name is None or name.text in _WORDS:
            raise self._unexpected("a name")
        if name.text not in NAMES and name.text not in TEXTS:
            known = ", ".join((*TEXTS, *NAMES))
            raise InvalidInput(f"`{name.text}` is not known; there are {known}", "/where")
        sign = self._take("operator")
        if sign is None:
            raise self._unexpected("an operator")
        if name.text in NAMES:
            if (number := self._take("number")) is None:
                raise self._unexpected("a number")
            return Comparison(name.text, sign.text, float(number.text))
        if (text := self._take("text")) is None:
            raise self._unexpected("text between single quotes")
        return Comparison(name.text, sign.text, text.text)

    def _take(self, kind: str, text: str | None = None) -> _Token | None:
        if self._next == len(self._tokens):
            return None
        token = self._tokens[self._next]
        if token.kind != kind or (text is not None and token.text != text):
            return None
        self._next += 1
        return token

    def _unexpected(self, wanted: str) -> InvalidInput:
        if self._next >= len(self._tokens):
            return InvalidInput(f"ends where {wanted} was expected", "/where")
        return InvalidInput(f"{wanted} was expected at character {self._tokens[self._next].place}", "/where")
