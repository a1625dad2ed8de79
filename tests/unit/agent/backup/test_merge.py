from pathlib import Path

from agent.backup.merge import count, drop_known


def put(maildir: Path, name: str, content: str) -> None:
    path = maildir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def names(maildir: Path) -> set[str]:
    return {str(path.relative_to(maildir)) for path in maildir.rglob("*") if path.is_file()}


def test_only_what_is_in_no_folder_any_more_stays_to_be_brought_back(tmp_path: Path) -> None:
    earlier, now = tmp_path / "earlier", tmp_path / "now"
    put(earlier, "cur/1.a:2,", "read since")
    put(earlier, "new/2.a", "filed since")
    put(earlier, "cur/3.a:2,S", "deleted since")
    put(earlier, ".Work/cur/4.a:2,S", "deleted, too")
    put(now, "cur/1.a:2,S", "read since")
    put(now, ".Archive/cur/9.b:2,S", "filed since")
    put(now, "cur/5.a:2,S", "as long as it")
    assert drop_known(earlier, now) == (2, 2)
    assert names(earlier) == {"cur/3.a:2,S", ".Work/cur/4.a:2,S"}
    assert count(now) == 3


def test_a_message_as_long_as_another_is_not_taken_for_it(tmp_path: Path) -> None:
    put(tmp_path / "earlier", "cur/1.a:2,", "herring")
    put(tmp_path / "now", "cur/1.b:2,", "sardine")
    assert drop_known(tmp_path / "earlier", tmp_path / "now") == (1, 0)


def test_into_a_mailbox_that_is_not_there_all_is_brought_back(tmp_path: Path) -> None:
    put(tmp_path / "earlier", "cur/1.a:2,", "herring")
    assert drop_known(tmp_path / "earlier", tmp_path / "now") == (1, 0)
