import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.journal import SendState
from agent.relay.outcome import POLICY, Answer, Outcome, Stage, Verdict, judge, refusal
from agent.relay.replies import Reply

QUEUED = Reply(250, "2.0.0 Ok: queued as 4jX4hz6SLnzCy")


def test_the_policy_knows_every_stage_and_answer() -> None:
    assert set(POLICY) == set(itertools.product(Stage, Answer))


@pytest.mark.parametrize(
    ("stage", "reply", "verdict"),
    [
        (Stage.MAIL, Reply(250, "2.1.0 Ok"), Verdict.GO_ON),
        (Stage.MAIL, Reply(452, "4.3.1 Insufficient system storage"), Verdict.SESSION_LATER),
        (Stage.RCPT, Reply(450, "4.1.2 Recipient address rejected: Domain not found"), Verdict.SEND_LATER),
        (Stage.RCPT, Reply(421, "4.3.2 Closing"), Verdict.SESSION_LATER),
        (Stage.RCPT, Reply(550, "5.1.1 User unknown"), Verdict.BOUNCED),
        (Stage.RCPT, Reply(554, "5.7.1 Relay access denied"), Verdict.FAILED),
        (Stage.RCPT, Reply(550, "no"), Verdict.FAILED),
        (Stage.DATA, Reply(354, "End data"), Verdict.GO_ON),
        (Stage.DATA, Reply(250, "Ok"), Verdict.SESSION_LATER),
        (Stage.DATA, Reply(554, "5.5.1 Error: no valid recipients"), Verdict.FAILED),
        (Stage.MESSAGE, QUEUED, Verdict.RELAYED),
        (Stage.MESSAGE, Reply(250, "2.0.0 Ok"), Verdict.SETTLE),
        (Stage.MESSAGE, Reply(451, "4.3.0 Error: queue file write error"), Verdict.SEND_LATER),
        (Stage.MESSAGE, Reply(552, "5.3.4 Message file too big"), Verdict.FAILED),
        (Stage.MESSAGE, None, Verdict.SETTLE),
    ],
)
def test_what_becomes_of_a_send(stage: Stage, reply: Reply | None, verdict: Verdict) -> None:
    assert judge(stage, reply).verdict is verdict


@given(st.sampled_from(Stage), st.one_of(st.none(), st.builds(Reply, st.integers(200, 599), st.text(max_size=30))))
def test_nothing_is_repeated_that_postfix_may_have(stage: Stage, reply: Reply | None) -> None:
    verdict = judge(stage, reply).verdict
    if stage is Stage.MESSAGE and (reply is None or reply.code < 400):
        assert verdict in {Verdict.RELAYED, Verdict.SETTLE}
    if stage is not Stage.MESSAGE:
        assert verdict not in {Verdict.RELAYED, Verdict.SETTLE}


def test_a_refused_recipient_bounces_with_the_reply() -> None:
    outcome = judge(Stage.RCPT, Reply(550, "5.1.1 <b@x.test>: User unknown"))
    end = refusal(outcome, "b@x.test")
    assert end.state is SendState.BOUNCED
    assert end.reply is not None
    assert (end.reply.enhanced_status, end.reply.text) == ("5.1.1", "550 5.1.1 <b@x.test>: User unknown")


def test_a_refused_message_fails_with_a_sentence() -> None:
    end = refusal(judge(Stage.MESSAGE, Reply(552, "5.3.4 too big")), "b@x.test")
    assert (end.state, end.detail) == (SendState.FAILED, "Our Postfix refused it at message: 552 5.3.4 too big")


def test_a_refusal_needs_a_reply() -> None:
    with pytest.raises(ValueError, match="nobody refused"):
        refusal(Outcome(Stage.MESSAGE, Verdict.FAILED), "b@x.test")
