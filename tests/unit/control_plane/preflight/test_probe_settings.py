import pytest
from pydantic import ValidationError

from control_plane.settings import Settings


def test_hosts_to_try_are_named_with_port_25() -> None:
    settings = Settings.model_validate({"state_dir": "/nowhere", "port25_probe": ["mx.example:25", "192.0.2.1:25"]})
    assert settings.port25_probe == ("mx.example:25", "192.0.2.1:25")


@pytest.mark.parametrize("probe", ["mx.example", ":25", "mx.example:587", "mx.example:125x", ""])
def test_anything_else_is_refused(probe: str) -> None:
    with pytest.raises(ValidationError, match="host:25"):
        Settings.model_validate({"state_dir": "/nowhere", "port25_probe": [probe]})
