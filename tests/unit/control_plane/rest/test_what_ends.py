"""What the OpenAPI document says of the operations that take somebody's rights away."""

import pytest

from control_plane.cli.client import openapi


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("patch", "/members/{member_id}", ["API keys are revoked", "invitations taken back"]),
        ("delete", "/members/{member_id}", ["API keys", "revoked", "invitations", "taken back", "stay logged in"]),
        ("post", "/auth/leave", ["API keys", "revoked", "invitations", "taken back", "stays logged in"]),
    ],
)
def test_all_that_ends_with_a_membership_is_said(method: str, path: str, says: list[str]) -> None:
    described = openapi()["paths"][f"/api/v1{path}"][method]["description"]
    words = " ".join(described.split())
    assert [phrase for phrase in says if phrase not in words] == []
