"""What a server says of the mail that it packed is believed within bounds: it is fetched into the database."""

import pytest
from pydantic import ValidationError

from control_plane.provisioning.rebuilding import BLOCK, MOST_ARCHIVE, PackedMail


def said(size: int) -> str:
    hashed = "ab" * 32
    return f'{{"size": {size}, "sha256": "{hashed}", "files": 1, "tree_size": 1, "tree_sha256": "{hashed}"}}'


def test_an_archive_has_a_block_for_its_last_octets() -> None:
    assert PackedMail.model_validate_json(said(BLOCK + 1)).blocks == 2


@pytest.mark.parametrize("size", [-1, MOST_ARCHIVE + 1, 2**63])
def test_an_archive_of_a_size_that_no_mail_here_has_is_not_believed(size: int) -> None:
    with pytest.raises(ValidationError):
        PackedMail.model_validate_json(said(size))
