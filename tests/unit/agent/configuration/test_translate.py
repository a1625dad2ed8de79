from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.configuration.translate import to_spec
from mailstack.spec import Alias, DkimKey, MailBackup, Mailbox, MailDomain, MailServerSpec
from mailstack.syntax import InvalidSpec
from mailstack.tunables import Tunables
from protos.agent.v1 import configuration_pb2 as wire
from protos.agent.v1.configuration_pb2 import MailServer
from tests.golden.spec import MOVING, NAMED, NO_REAL_KEY, POLICIES, POOLED, SPEC, UNNAMED
from tests.unit.agent.configuration.wire_form import wire_form

_LABELS = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


@st.composite
def _specs(draw: st.DrawFn) -> MailServerSpec:
    domains = [f"{label}.example" for label in draw(st.lists(_LABELS, unique=True, max_size=4))]
    names = draw(st.lists(_LABELS, unique=True, max_size=4))
    kept = [
        DkimKey(selector, NO_REAL_KEY, active=False) for selector in draw(st.lists(_LABELS, unique=True, max_size=2))
    ]
    signing = (DkimKey("signing-key", NO_REAL_KEY),) if draw(st.booleans()) else ()
    return replace(
        SPEC,
        domains=tuple(MailDomain(domain, (*kept, *signing)) for domain in domains),
        mailboxes=tuple(
            Mailbox(f"{name}@{domain}", SPEC.mailboxes[0].password_hash) for domain in domains for name in names
        ),
        aliases=tuple(Alias(f"to-{name}@{domain}", (f"{name}@{domain}",)) for domain in domains for name in names),
    )


@given(_specs())
def test_a_spec_survives_the_way_over_the_wire(spec: MailServerSpec) -> None:
    assert to_spec(MailServer.FromString(wire_form(spec).SerializeToString())) == spec


def test_further_addresses_survive_the_way_over_the_wire() -> None:
    assert to_spec(MailServer.FromString(wire_form(POOLED).SerializeToString())) == POOLED


def test_policies_survive_the_way_over_the_wire() -> None:
    assert to_spec(MailServer.FromString(wire_form(POLICIES).SerializeToString())) == POLICIES


@pytest.mark.parametrize("spec", [UNNAMED, NAMED, MOVING])
def test_addresses_of_version_6_survive_the_wire(spec: MailServerSpec) -> None:
    assert to_spec(MailServer.FromString(wire_form(spec).SerializeToString())) == spec


def test_mailboxes_that_move_survive_the_way_over_the_wire() -> None:
    assert to_spec(MailServer.FromString(wire_form(MOVING).SerializeToString())) == MOVING


def test_what_is_set_for_the_fleet_survives_the_wire_and_what_is_not_known_is_refused() -> None:
    tuned = replace(SPEC, tunables=Tunables(smtp_destination_rate_delay=3, smtp_tls_security_level="encrypt"))
    message = MailServer.FromString(wire_form(tuned).SerializeToString())
    assert to_spec(message) == tuned
    message.settings.add(name="of_a_newer_release", value="1")
    with pytest.raises(InvalidSpec, match="of_a_newer_release"):
        to_spec(message)


def test_an_empty_message_is_no_server() -> None:
    with pytest.raises(InvalidSpec):
        to_spec(MailServer())


def test_what_could_not_be_written_safely_is_refused() -> None:
    server = wire_form(SPEC)
    server.mailboxes[0].address = "jane@shop.example OK\nroot@mx1.fleet.example"

    with pytest.raises(InvalidSpec):
        to_spec(server)


def test_where_mailboxes_are_backed_up_to_survives_too() -> None:
    backup = MailBackup(
        "s3:https://s3.example/bucket", "herring-and-sardine", (("AWS_ACCESS_KEY_ID", "fish"),), "0190-a1"
    )
    spec = replace(SPEC, backup=backup)
    assert to_spec(MailServer.FromString(wire_form(spec).SerializeToString())) == spec


@pytest.mark.parametrize(
    ("repository", "password", "credentials"),
    [
        ("sftp:user@host:/backups", "herring-and-sardine", {}),
        ("rclone:remote:path", "herring-and-sardine", {}),
        ("/etc", "herring-and-sardine", {}),
        ("/srv/../etc", "herring-and-sardine", {}),
        ("rest:https://host/\n", "herring-and-sardine", {}),
        ("/srv/backups", "short", {}),
        ("/srv/backups", "herring-and-sardine", {"RESTIC_PASSWORD_COMMAND": "sh"}),
        ("/srv/backups", "herring-and-sardine", {"LD_PRELOAD": "/srv/fish.so"}),
    ],
)
def test_a_place_or_a_variable_by_which_root_would_run_something_is_refused(
    repository: str, password: str, credentials: dict[str, str]
) -> None:
    server = wire_form(SPEC)
    server.backup.MergeFrom(
        wire.MailBackup(repository=repository, password=password, credentials=credentials, server="0190-a1")
    )
    with pytest.raises(InvalidSpec):
        to_spec(server)
