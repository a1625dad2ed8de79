from agent.relay.delays import delay_after


def test_delays_grow_to_a_limit() -> None:
    delays = [delay_after(failures) for failures in range(1, 200)]
    assert delays[0] < 0.1
    assert all(3.0 < delay < 7.0 for delay in delays[20:])
