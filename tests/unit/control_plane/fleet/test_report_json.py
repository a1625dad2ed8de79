import json
import math
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from control_plane.fleet.report_json import as_json
from protos.agent.v1.telemetry_pb2 import HealthReport, Host
from tests.simulation.sample import health_report

_OF_KIND = {
    FieldDescriptor.TYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
}


def _values(kind: Descriptor, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return what a message of a kind may be made of."""
    fields = [field for field in kind.fields if depth or field.message_type is None]
    return st.fixed_dictionaries({}, optional={field.name: _of(field, depth) for field in fields})


def _of(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    one = _OF_KIND[field.type] if field.message_type is None else _values(field.message_type, depth - 1)
    return st.lists(one, max_size=2) if field.is_repeated else one


def _as_the_library_has_it(message: Message) -> object:
    return json.loads(MessageToJson(message, preserving_proto_field_name=True))


@given(_values(HealthReport.DESCRIPTOR, 2))
def test_a_report_is_the_json_that_the_library_makes_of_it(values: dict[str, Any]) -> None:
    report = HealthReport(**values)
    assert json.loads(as_json(report)) == _as_the_library_has_it(report)


def test_a_usual_report_is_the_json_that_the_library_makes_of_it() -> None:
    report = health_report("mx.penguin.example", 100)
    assert json.loads(as_json(report)) == _as_the_library_has_it(report)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_does_not_have_are_words(number: float) -> None:
    report = HealthReport(host=Host(load_1m=number))
    assert json.loads(as_json(report)) == _as_the_library_has_it(report)


def test_a_kind_of_field_that_no_report_has_is_refused() -> None:
    with pytest.raises(TypeError, match="no report has"):
        as_json(Struct(fields={}))
