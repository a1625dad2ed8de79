import json
import os
from pathlib import Path

from agent.acme import certbot, status
from agent.acme.states import State
from agent.metrics.certificate_issue import CertificateIssueFile
from agent.status_writer import write_status
from protos.agent.v1.telemetry_pb2 import AcmeChallenge, CertificateIssue


def test_what_was_written_down_is_told_once_for_each_change(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    file = CertificateIssueFile(path)
    assert not file.seen_change()
    assert file.issue is None

    write_status(
        path,
        status.Status(
            State.LIMITED,
            "later",
            1.5,
            7.25,
            2,
            (1.5,),
            "mark",
            certified=("mta-sts.b.example",),
            missing=("mta-sts.a.example",),
        ),
    )
    assert file.seen_change()
    assert not file.seen_change()
    assert file.issue == CertificateIssue(
        state="limited",
        detail="later",
        last_attempt_ms=1500,
        next_attempt_ms=7250,
        attempts_today=1,
        failures=2,
        missing_names=["mta-sts.a.example"],
    )
    assert file.web_name == "mta-sts.b.example"


def test_records_are_asked_for_while_their_file_is_there(tmp_path: Path) -> None:
    file = CertificateIssueFile(tmp_path / "status.json")
    challenges = tmp_path / certbot.CHALLENGES
    write_status(tmp_path / "status.json", status.Status(State.ASKING, "asked"))
    names = ["_acme-challenge.mx1.fleet.example", "_acme-challenge.mta-sts.shop.example"]
    challenges.write_text(json.dumps([{"name": name, "value": "V"} for name in names]))
    assert file.seen_change()
    assert file.issue is not None
    assert list(file.issue.challenges) == [AcmeChallenge(name=name, value="V") for name in names]

    challenges.unlink()
    assert file.seen_change()
    assert not file.issue.challenges
    assert not file.seen_change()


def test_a_half_written_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    file = CertificateIssueFile(path)
    write_status(path, status.Status(State.ISSUED, "shown"))
    file.seen_change()
    path.write_text(json.dumps({"state": "issued"}))
    os.utime(path, ns=(1, 1))
    assert not file.seen_change()
    assert file.issue is not None
    assert file.issue.detail == "shown"
