from control_plane.enrolment.wheelhouse import requirements_without_markers

H = "a" * 64
LOCK = f"""\
# made by a tool
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:{H} \\
    --hash=sha256:{"b" * 64}
    # via redis
grpcio==1.85.1 \\
    --hash=sha256:{H}
    # via -r requirements/agent.in
"""


def test_a_lock_loses_its_markers_and_keeps_its_hashes() -> None:
    found = requirements_without_markers(LOCK)

    assert found == (
        f"async-timeout==5.0.1 \\\n    --hash=sha256:{H} \\\n    --hash=sha256:{'b' * 64}\n"
        f"grpcio==1.85.1 \\\n    --hash=sha256:{H}\n"
    )
