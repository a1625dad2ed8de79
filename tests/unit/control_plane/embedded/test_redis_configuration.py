"""What the private Redis is told."""

from pathlib import Path

from control_plane.embedded.redis import EmbeddedRedis, RedisTls, configuration

TLS = RedisTls(Path("redis.pem"), Path("redis.key"), "10.77.0.1", 7379)


def settings(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition(" ") for line in text.splitlines())}


def test_without_agents_there_is_no_port_at_all() -> None:
    told = settings(configuration("/run/x", "secret", None))
    assert told["port"] == "0"
    assert "tls-port" not in told
    assert "bind" not in told


def test_agents_get_tls_1_3_and_no_one_else_gets_in() -> None:
    told = settings(configuration("/run/x", "secret", TLS))
    assert told["port"] == "0"
    assert (told["bind"], told["tls-port"]) == ("10.77.0.1", "7379")
    assert told["tls-protocols"] == '"TLSv1.3"'
    assert told["requirepass"] == "secret"


def test_it_keeps_nothing_and_forgets_nothing_at_random() -> None:
    told = settings(configuration("/run/x", "secret", None))
    assert (told["save"], told["appendonly"], told["maxmemory-policy"]) == ('""', "no", "noeviction")


def test_two_of_them_have_different_passwords_that_repr_does_not_show() -> None:
    one, other = EmbeddedRedis(Path("/run/x")), EmbeddedRedis(Path("/run/x"))
    assert one.url != other.url
    assert one.url.split(":")[2].split("@")[0] not in repr(one)
