from agent.journal.facts import Abandoned, Accepted, HasMessageId, MasterStarted
from agent.maillog.parse import Began, CutOff, Ended
from agent.maillog.sessions import Sessions

ID = b"0123456789abcdef"


def test_a_client_that_goes_away_abandons_the_message_in_hand_and_no_other() -> None:
    sessions = Sessions()
    assert sessions.join(Began("1", "Q1")) is None
    assert sessions.join(Began("2", "Q2")) is None
    assert sessions.join(Began("1", "Q3")) is None
    assert sessions.join(CutOff("1")) == Abandoned("Q3")
    assert sessions.join(CutOff("1")) is None
    assert sessions.join(Accepted("Q1", 5)) == Accepted("Q1", 5)


def test_a_session_that_ended_has_nothing_in_hand() -> None:
    sessions = Sessions()
    sessions.join(Began("1", "Q1"))
    assert sessions.join(Ended("1")) is None
    assert sessions.join(CutOff("1")) is None


def test_a_message_id_that_comes_after_its_message_was_abandoned_is_passed_over() -> None:
    sessions = Sessions()
    sessions.join(Began("1", "Q1"))
    assert sessions.join(HasMessageId("Q1", ID)) == HasMessageId("Q1", ID)
    sessions.join(CutOff("1"))
    assert sessions.join(HasMessageId("Q1", ID)) is None
    assert sessions.join(HasMessageId("Q2", ID)) == HasMessageId("Q2", ID)


def test_a_new_master_has_processes_of_its_own() -> None:
    sessions = Sessions()
    sessions.join(Began("1", "Q1"))
    assert sessions.join(MasterStarted()) == MasterStarted()
    assert sessions.join(CutOff("1")) is None


def test_memory_survives_a_restart() -> None:
    sessions = Sessions()
    sessions.join(Began("1", "Q1"))
    sessions.join(Began("2", "Q2"))
    sessions.join(CutOff("1"))
    again = Sessions.restore(sessions.memory())
    assert again.join(CutOff("2")) == Abandoned("Q2")
    assert again.join(HasMessageId("Q1", ID)) is None


def test_memory_stays_small() -> None:
    sessions = Sessions()
    for number in range(1000):
        sessions.join(Began("1", f"Q{number}"))
        sessions.join(CutOff("1"))
    assert len(sessions.memory()) < 3000
