from dataclasses import replace

import pytest

from mailstack.apply.host import StoredFile
from mailstack.apply.plan import ORDER, make_plan
from mailstack.rendered_file import OnChange, RenderedFile, Service

_MAIN = RenderedFile("/etc/postfix/main.cf", b"a", (Service.POSTFIX,))
_TABLE = RenderedFile("/etc/postfix/maps/senders", b"b", (Service.POSTFIX,), OnChange.NOTHING, postmap=True)
_DKIM = RenderedFile("/etc/opendkim.conf", b"c", (Service.OPENDKIM,), OnChange.RESTART)
_CERTIFICATE = RenderedFile("/etc/penguin/tls/served.pem", b"d", (Service.DOVECOT, Service.POSTFIX), mode=0o600)
_DESIRED = (_MAIN, _TABLE, _DKIM, _CERTIFICATE)
_ALL = frozenset(ORDER)
_FORMERLY = frozenset(file.path for file in _DESIRED)


def _stored(*files: RenderedFile) -> dict[str, StoredFile]:
    found = {file.path: StoredFile(file.content, file.owner, file.group, file.mode) for file in files}
    found.update({f"{file.path}.db": found[file.path] for file in files if file.postmap})
    return found


def test_nothing_is_planned_when_all_is_as_desired() -> None:
    assert make_plan(_DESIRED, _stored(*_DESIRED), _FORMERLY, _ALL).empty


def test_a_first_apply_restarts_everything_milters_and_dovecot_before_postfix() -> None:
    plan = make_plan(_DESIRED, {}, None, _ALL)

    assert plan.changed == _DESIRED
    assert plan.actions == (
        (Service.OPENDKIM, OnChange.RESTART),
        (Service.OPENDMARC, OnChange.RESTART),
        (Service.DOVECOT, OnChange.RESTART),
        (Service.POSTFIX, OnChange.RESTART),
    )


@pytest.mark.parametrize("difference", [{"content": b"x"}, {"owner": "vmail"}, {"group": "adm"}, {"mode": 0o600}])
def test_any_difference_of_a_file_changes_it_and_its_service_alone(difference: dict[str, object]) -> None:
    wanted = replace(_MAIN, **difference)  # type: ignore[arg-type] # one field at a time, by name
    plan = make_plan((wanted, *_DESIRED[1:]), _stored(*_DESIRED), _FORMERLY, _ALL)

    assert plan.changed == (wanted,)
    assert plan.actions == ((Service.POSTFIX, OnChange.RELOAD),)


def test_a_restart_wins_over_a_reload() -> None:
    reloading = RenderedFile("/etc/opendkim/key.table", b"e", (Service.OPENDKIM,))
    plan = make_plan((*_DESIRED, reloading), _stored(_MAIN, _TABLE, _CERTIFICATE), _FORMERLY, _ALL)

    assert plan.actions == ((Service.OPENDKIM, OnChange.RESTART),)


def test_a_new_certificate_reloads_both_who_serve_it() -> None:
    plan = make_plan(_DESIRED, _stored(_MAIN, _TABLE, _DKIM), _FORMERLY, _ALL)

    assert plan.actions == ((Service.DOVECOT, OnChange.RELOAD), (Service.POSTFIX, OnChange.RELOAD))


def test_a_lost_table_is_built_again() -> None:
    found = _stored(*_DESIRED)
    del found[f"{_TABLE.path}.db"]

    assert make_plan(_DESIRED, found, _FORMERLY, _ALL).changed == (_TABLE,)


def test_a_changed_table_asks_no_validator_and_no_service() -> None:
    plan = make_plan(_DESIRED, _stored(_MAIN, _DKIM, _CERTIFICATE), _FORMERLY, _ALL)

    assert (plan.changed, plan.actions, plan.services) == ((_TABLE,), (), ())


def test_a_service_that_does_not_run_is_started() -> None:
    plan = make_plan(_DESIRED, _stored(*_DESIRED), _FORMERLY, _ALL - {Service.DOVECOT})

    assert (plan.changed, plan.actions) == ((), ((Service.DOVECOT, OnChange.RESTART),))


def test_files_written_before_and_no_longer_wanted_are_removed() -> None:
    plan = make_plan(_DESIRED, _stored(*_DESIRED), _FORMERLY | {"/etc/opendkim/keys/gone.example/pm1.pem"}, _ALL)

    assert plan.removed == ("/etc/opendkim/keys/gone.example/pm1.pem",)
