import pytest

from control_plane.errors import Forbidden
from control_plane.hub.access_policy import POLICY, Callers, callers_of
from protos.agent.v1 import enrolment_pb2, link_pb2


def test_every_method_of_the_protocol_is_in_the_table_and_nothing_else() -> None:
    services = (
        *enrolment_pb2.DESCRIPTOR.services_by_name.values(),
        *link_pb2.DESCRIPTOR.services_by_name.values(),
    )
    assert {f"/{service.full_name}/{method.name}" for service in services for method in service.methods} == set(POLICY)


def test_only_enrolment_is_open_to_anyone() -> None:
    assert [method for method, callers in POLICY.items() if callers is Callers.ANYONE] == [
        "/penguinmails.agent.v1.Enrolment/Enrol"
    ]


def test_a_method_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(Forbidden):
        callers_of("/penguinmails.agent.v1.Link/Shutdown")
