from pathlib import Path

from agent.packages.repack import listed_paths, own_fields

STATUS = """\
Package: opendkim
Status: install ok installed
Priority: optional
Version: 2.11.0~beta2-8
Conffiles:
 /etc/opendkim.conf 4d4d
 /etc/init.d/opendkim 5e5e
Description: milter
 Signs.
 .
 And verifies.

"""


def test_a_description_is_what_its_maintainer_wrote() -> None:
    assert own_fields(STATUS) == (
        "Package: opendkim\nPriority: optional\nVersion: 2.11.0~beta2-8\n"
        "Description: milter\n Signs.\n .\n And verifies.\n"
    )


def test_folders_are_only_those_with_nothing_in_them(tmp_path: Path) -> None:
    (tmp_path / "usr" / "lib").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "a").touch()
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    listed = ["/.", *(f"{tmp_path}/{name}" for name in ("lib", "lib/a", "empty", "link", "gone"))]
    output = "\n".join([*listed, "diverted by other to: /x"])
    assert listed_paths(output) == [tmp_path / "lib/a", tmp_path / "empty", tmp_path / "link"]
