"""The mail account, on a server that lost its power while it was made."""

import pytest

from mailstack import layout
from mailstack.apply.accounts import prepare
from mailstack.apply.host import CommandFailed
from tests.fakes.host import FakeHost, PowerCut


@pytest.mark.parametrize("cut", ["groupadd", "useradd", "usermod", layout.MAIL_LOG])
def test_what_a_power_cut_left_half_made_the_next_apply_makes_whole(cut: str) -> None:
    host, whole = FakeHost(), FakeHost()
    prepare(whole)
    host.power_cut_at = cut
    with pytest.raises(PowerCut):
        prepare(host)

    host.power_cut_at = None
    for _ in range(2):
        prepare(host)

    assert (host.groups, host.group_ids, host.files) == (whole.groups, whole.group_ids, whole.files)
    assert host.groups_of(layout.MAIL_USER) == frozenset({layout.MAIL_USER})


def test_a_group_of_that_name_with_another_number_is_not_taken_for_ours() -> None:
    host = FakeHost()
    host.group_ids[layout.MAIL_USER] = "1234"
    with pytest.raises(CommandFailed, match="no such group"):
        prepare(host)


def test_a_group_that_cannot_be_made_is_told_of() -> None:
    host = FakeHost()
    host.complaints["groupadd"] = "cannot lock /etc/group; try again later."
    with pytest.raises(CommandFailed, match="cannot lock"):
        prepare(host)
