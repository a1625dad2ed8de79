from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from control_plane.provisioning.cloud_init import USER_DATA_LIMIT, JoinData, UserDataTooLong, render_user_data

GOLDEN = Path(__file__).parents[3] / "golden" / "cloud_init.yaml"
BOOTSTRAP = Path(__file__).parents[4] / "agent" / "units" / "bootstrap.py"


def join_data(bootstrap_source: str = 'print("hello")\n') -> JoinData:
    return JoinData(
        hostname="mx-1.penguin.example",
        enrol_endpoint="10.77.0.1:7443",
        downloads_url="https://10.77.0.1:7480",
        join_token="s3cret",
        authority_pem="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        manifest_sha256="ab" * 32,
        bootstrap_source=bootstrap_source,
    )


def test_the_user_data_is_the_kept_one() -> None:
    assert render_user_data(join_data()) == GOLDEN.read_text()


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\t")))
def test_any_program_arrives_as_it_is(source: str) -> None:
    document = yaml.safe_load(render_user_data(join_data(bootstrap_source=source)))

    (bootstrap,) = [file for file in document["write_files"] if file["path"].endswith("bootstrap.py")]
    assert bootstrap["content"] == source


def test_the_real_bootstrap_fits() -> None:
    assert len(render_user_data(join_data(BOOTSTRAP.read_text()))) < USER_DATA_LIMIT


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserDataTooLong):
        render_user_data(join_data(bootstrap_source="x" * USER_DATA_LIMIT))


def test_the_token_is_for_root_alone_and_does_not_show() -> None:
    join = join_data()

    (agent,) = [f for f in yaml.safe_load(render_user_data(join))["write_files"] if "s3cret" in f["content"]]
    assert agent["permissions"] == "0600"
    assert "s3cret" not in repr(join)
