"""When a certificate is due for renewal."""

import datetime as dt
from pathlib import Path

from agent.identity.key import make_key, signing_request
from agent.identity.renew import renewal_due
from tests.fakes.hub import FakeAuthority


def test_renewal_is_due_at_half_of_the_certificates_life(tmp_path: Path) -> None:
    request = signing_request(make_key(tmp_path / "key.pem"))
    certificate = FakeAuthority().agent(request, "vps-1", dt.timedelta(hours=1), dt.timedelta(hours=24))
    until_due = renewal_due(certificate) - dt.datetime.now(dt.UTC)
    assert abs(until_due - dt.timedelta(hours=11)) < dt.timedelta(minutes=1)
