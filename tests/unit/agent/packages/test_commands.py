import os
from pathlib import Path

from agent.packages.commands import run


def test_a_program_tells_how_it_ended_and_is_asked_nothing(tmp_path: Path) -> None:
    script = "read answer; pwd; echo $DEBIAN_FRONTEND; echo words >&2; exit 3"
    output = run(["sh", "-c", script], 30.0, tmp_path)
    assert (output.exit_code, output.stdout) == (3, f"{tmp_path}\nnoninteractive\n")
    assert output.last_words == "words"


def test_one_that_does_not_end_is_ended_with_all_it_began(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    output = run(["sh", "-c", "exec 3> pipe; sleep 600 & sleep 600"], 0.5, tmp_path)
    assert output.exit_code < 0
    # It comes to its end only when nobody can write to it any more.
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)
