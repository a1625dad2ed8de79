"""Where personal data of recipients lies is known: compared with the models, which are compared with the schema."""

from control_plane.privacy.personal_data import COLUMNS, SUSPECT
from db.models import metadata


def suspects() -> set[tuple[str, str]]:
    return {
        (table.name, column.name)
        for table in metadata.tables.values()
        for column in table.columns
        if SUSPECT.search(column.name) and not column.name.endswith("_id")
    }


def test_each_column_that_may_hold_a_recipients_data_is_listed() -> None:
    assert suspects() - COLUMNS.keys() == set()


def test_each_column_that_is_listed_is_there() -> None:
    there = {(table.name, column.name) for table in metadata.tables.values() for column in table.columns}
    assert COLUMNS.keys() - there == set()
