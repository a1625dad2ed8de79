import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import InvalidInput
from control_plane.webhooks.urls import require_url


@pytest.mark.parametrize("url", ["https://hooks.example.com/in?token=1", "https://1.1.1.1:8443/", "https://A.example"])
def test_urls_of_public_hosts_are_taken(url: str) -> None:
    require_url(url, private_targets=False)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://hooks.example.com",
            "ftp://hooks.example.com",
            "https://",
            "hooks.example.com",
            "//a.example",
            "https:a",
        ),
        *("https://u:p@a.example", "https://a.example/#f", "https://127.0.0.1/", "https://[::1]/", "https://localhost"),
        *("https://[::ffff:10.0.0.1]/", "https://db.internal/", "https://a.localhost./", "https://a.example:99999"),
        *(
            "https://a.example/ b",
            "https://a.example/\u00e4",
            "https://10.77.0.1/",
            "https://a.example/\n",
            "https://a.example:0",
            "https://xn--.example",
        ),
    ],
)
def test_others_are_refused_at_the_url(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        require_url(url, private_targets=False)
    assert refused.value.field == "/url"


@given(st.text(max_size=60).map(lambda tail: "https://" + tail))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        require_url(text, private_targets=False)
    except InvalidInput:
        return
    assert text.isascii()


def test_a_local_installation_may_say_that_private_ones_will_do() -> None:
    require_url("http://127.0.0.1:8080/in", private_targets=True)
