import grpc

from control_plane import errors
from control_plane.errors import PenguinError


def test_every_error_names_a_status_that_grpc_knows() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, PenguinError)]
    assert len(classes) > 5
    for each in classes:
        assert grpc.StatusCode[each.grpc_code] is not grpc.StatusCode.OK
