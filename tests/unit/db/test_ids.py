import time

from db.ids import uuid7


def test_an_id_carries_its_moment_and_says_its_version() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= after


def test_ids_differ_within_a_millisecond() -> None:
    assert len({uuid7() for _ in range(1000)}) == 1000
