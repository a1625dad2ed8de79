"""Which unit is the daemon's, by the units that a distribution has."""

from pathlib import Path

import pytest

from mailstack.apply import host
from mailstack.rendered_file import Service


@pytest.mark.parametrize(
    ("postfix", "unit"),
    [
        # Debian 12 and Ubuntu 24.04; Debian 13; not installed.
        ("[Service]\nType=oneshot\nExecStart=/bin/true\n", "postfix@-.service"),
        ("[Service]\nType=forking\nExecStart=postfix debian-systemd-start\n", "postfix.service"),
        (None, "postfix.service"),
    ],
)
def test_postfix_is_the_unit_that_runs_its_main_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postfix: str | None, unit: str
) -> None:
    monkeypatch.setattr(host, "_VENDOR_UNITS", tmp_path)
    (tmp_path / "postfix@.service").touch()
    if postfix is not None:
        (tmp_path / "postfix.service").write_text(postfix)
    assert host._main_unit(Service.POSTFIX) == unit
    assert host._main_unit(Service.DOVECOT) == "dovecot.service"
