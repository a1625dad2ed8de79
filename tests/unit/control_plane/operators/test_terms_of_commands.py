from collections import defaultdict

from control_plane.operators.scopes import READING
from control_plane.operators.server_commands import TERMS, CommandKind


def test_each_kind_of_command_has_a_scope_and_none_opens_to_a_key_that_asked_for_nothing() -> None:
    assert set(TERMS) == set(CommandKind)
    assert not {terms.scope for terms in TERMS.values()} & READING


def test_kinds_that_can_do_other_harm_have_other_scopes() -> None:
    kinds = defaultdict(set)
    for kind, terms in TERMS.items():
        kinds[terms.scope.value].add(kind.value)
    assert kinds == {
        "commands:look": {"tail", "self-test", "list-mail-backups"},
        "commands:run": {"restart", "reload", "flush", "shed-disk", "back-up-mail"},
        "commands:hold": {"hold", "release"},
        "commands:delete": {"delete"},
        "commands:restore": {"restore-mail"},
        "commands:rotate-key": {"rotate-key"},
    }
