"""How long one attempt at a step may take."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from control_plane.pipelines.step import CEILING, Step, ceiling_of
from control_plane.provisioning.moves import LONGEST_FOR_EACH
from control_plane.provisioning.rebuilding import LONGEST_COPY
from control_plane.provisioning.steps import keep_mail, leave_server, move_inbox, rebuild_server
from control_plane.provisioning.steps.bind_sender import OfInbox
from control_plane.provisioning.steps.create_server import CreateServer


@pytest.mark.parametrize(
    ("step", "ceiling"),
    [
        (CreateServer(), CEILING),
        (keep_mail.FetchMail(), LONGEST_COPY),
        (move_inbox.Mirror("mirror"), LONGEST_FOR_EACH),
        (leave_server.DeleteSourceMail(), LONGEST_FOR_EACH),
    ],
)
def test_a_step_that_knows_better_has_its_own_ceiling(step: Step[Any], ceiling: timedelta) -> None:
    assert ceiling_of(step) == ceiling


@pytest.mark.parametrize("step", [rebuild_server.SendMailBack(), rebuild_server.PutMailBack(), CreateServer()])
def test_a_step_within_another_keeps_its_ceiling(step: Step[Any]) -> None:
    within: Iterable[Step[Any]] = (rebuild_server.Onward(step), OfInbox(step, "named"))
    assert {ceiling_of(each) for each in within} == {ceiling_of(step)}


@pytest.mark.parametrize(
    ("step", "longest_answers"),
    [
        (keep_mail.PackAway(), [keep_mail._PACK_LIFE]),
        (keep_mail.CutOff(), [keep_mail._CHECK_LIFE]),
        (rebuild_server.PutMailBack(), [rebuild_server._UNPACK_LIFE] * 2),
    ],
)
def test_a_server_that_takes_all_the_time_it_has_is_not_cut_short(
    step: Step[Any], longest_answers: list[timedelta]
) -> None:
    assert ceiling_of(step) > sum(longest_answers, timedelta(minutes=1))
