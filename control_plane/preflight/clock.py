"""Is the server's clock right: measured over its link (fleet/clock_offset.py), judged here."""

from control_plane.preflight.findings import Check, Finding, Verdict


def judge_clock(offset_ms: int | None, tolerance_seconds: int) -> Finding:
    """Return what the offset is worth; one that is not measured yet keeps the server from being leased to anyway."""
    if offset_ms is None:
        return _finding(Verdict.UNKNOWN, "the server's clock was not measured yet")
    seconds = offset_ms / 1000
    if abs(seconds) > tolerance_seconds:
        side = "ahead of" if seconds > 0 else "behind"
        detail = f"the server's clock is {abs(seconds):.1f} s {side} ours, more than {tolerance_seconds} s"
        return _finding(Verdict.FAILED, detail)
    return _finding(Verdict.PASSED, f"the server's clock is {abs(seconds):.1f} s from ours")


def _finding(verdict: Verdict, detail: str) -> Finding:
    return Finding(Check.CLOCK, "clock", verdict, detail)
