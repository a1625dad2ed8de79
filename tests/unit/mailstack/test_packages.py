import pytest

from agent.units.bootstrap import PACKAGES
from mailstack.packages import MAIL_PACKAGES, checked_versions
from mailstack.syntax import InvalidSpec


def test_what_a_server_is_made_of_can_be_changed() -> None:
    assert set(PACKAGES) <= MAIL_PACKAGES
    wanted = {name: ["1:2.3.19.1+dfsg1-2.1+deb12u7", "2.11.0~beta2-8"] for name in MAIL_PACKAGES}
    assert checked_versions(wanted) == {name: tuple(versions) for name, versions in wanted.items()}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"bash": ["5.2"]},
        {"postfix": []},
        {"postfix": ["1"] * 6},
        {"postfix": [""]},
        {"postfix": ["-o"]},
        {"postfix": ["3.7 bash"]},
        {"postfix": ["3.7/../x"]},
        {"postfix": ["3.7\n"]},
        {"postfix": ["3" * 200]},
    ],
)
def test_nothing_else_can(wanted: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidSpec):
        checked_versions(wanted)
