import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from control_plane.provisioning.join_program import render_join_command, render_join_program
from tests.unit.control_plane.provisioning.test_cloud_init import join_data


def test_the_command_is_one_line_that_hands_the_program_to_python_on_its_standard_input() -> None:
    command = render_join_command(join_data())
    assert "\n" not in command
    printf, form, program, pipe, python, standard_input = shlex.split(command)
    assert (printf, form, pipe, python, standard_input) == ("printf", "%s", "|", "python3", "-")
    assert program.startswith("exec(")
    assert "s3cret" in program


def test_what_is_run_is_compared_with_its_hash_and_comes_over_tls_from_the_pinned_authority() -> None:
    program = render_join_program(join_data())
    lines = program.splitlines()
    compared = next(number for number, line in enumerate(lines) if "sha256(got)" in line)
    run = next(number for number, line in enumerate(lines) if "subprocess.run" in line)
    assert compared < run
    assert "create_default_context(cadata=join" in program
    assert "https://10.77.0.1:7480/bootstrap.py" in program


@given(st.text(st.characters(codec="utf-8")))
def test_any_authority_arrives_as_it_is(words: str) -> None:
    data = join_data()
    object.__setattr__(data, "authority_pem", words)
    (assigned,) = ast.parse(render_join_program(data).splitlines()[1]).body
    assert isinstance(assigned, ast.Assign)
    assert isinstance(assigned.value, ast.Call)
    assert json.loads(ast.literal_eval(assigned.value.args[0])) == data.files()


def test_a_door_that_cannot_be_reached_is_a_sentence(tmp_path: Path) -> None:
    data = join_data()
    object.__setattr__(data, "downloads_url", "https://127.0.0.1:9")
    certificate = "import ssl, sys; ssl.create_default_context = lambda **_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
    (tmp_path / "sitecustomize.py").write_text(certificate)
    program = render_join_program(data)
    run = subprocess.run(
        [sys.executable, "-"],
        input=program,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "could not be fetched; nothing was changed" in run.stderr
