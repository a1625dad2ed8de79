"""A private Redis: who gets in, and what is left of it."""

import datetime as dt
import socket
import ssl
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from redis import AuthenticationError, Redis
from redis import ConnectionError as RedisConnectionError
from redis.backoff import NoBackoff
from redis.retry import Retry

from control_plane.embedded.redis import EmbeddedRedis, RedisTls


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="penguin-redis-") as path:
        yield Path(path)


@pytest.fixture
def tls(folder: Path) -> RedisTls:
    """A self-signed certificate, and a port that was free just now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return RedisTls(folder / "cert.pem", folder / "key.pem", "127.0.0.1", port)


@pytest.fixture
def server(folder: Path, tls: RedisTls) -> Iterator[EmbeddedRedis]:
    running = EmbeddedRedis(folder / "redis", tls=tls)
    running.start()
    yield running
    running.stop()


def agent(tls: RedisTls, username: str | None = None, password: str | None = None) -> Redis:
    return Redis(
        host=tls.address,
        port=tls.port,
        username=username,
        password=password,
        ssl=True,
        ssl_cert_reqs="none",
        ssl_check_hostname=False,
        retry=Retry(NoBackoff(), 0),
    )


def test_we_get_in_by_the_socket_and_an_agent_by_tls_with_its_own_user(server: EmbeddedRedis, tls: RedisTls) -> None:
    with Redis.from_url(server.url) as ours:
        ours.acl_setuser("vps-1", enabled=True, passwords=["+secret"], categories=["+@connection"])
    with agent(tls, "vps-1", "secret") as theirs:
        assert theirs.ping()


def test_nobody_gets_in_by_the_agents_port_without_a_password(server: EmbeddedRedis, tls: RedisTls) -> None:
    with agent(tls) as nobody, pytest.raises(AuthenticationError):
        nobody.ping()
    with agent(tls, "default", "guess") as guesser, pytest.raises(AuthenticationError):
        guesser.ping()


def test_an_older_tls_and_no_tls_are_refused(server: EmbeddedRedis, tls: RedisTls) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((tls.address, tls.port)) as older, pytest.raises(ssl.SSLError, match="VERSION"):
        context.wrap_socket(older)
    with (
        Redis(host=tls.address, port=tls.port, retry=Retry(NoBackoff(), 0)) as plain,
        pytest.raises(RedisConnectionError),
    ):
        plain.ping()


def test_only_its_owner_reaches_the_socket_and_the_files(server: EmbeddedRedis, folder: Path) -> None:
    assert stat.S_IMODE((folder / "redis").stat().st_mode) == 0o700
    for name in ("redis.conf", "tls.key", "tls.pem"):
        assert stat.S_IMODE((folder / "redis" / name).stat().st_mode) == 0o600


def test_it_forgets_when_it_starts_again_but_keeps_its_password(server: EmbeddedRedis) -> None:
    url = server.url
    with Redis.from_url(url) as ours:
        ours.set("key", "value")
    server.stop()
    server.start()
    assert server.url == url
    with Redis.from_url(url) as ours:
        assert ours.get("key") is None


def test_nothing_is_left_of_it(folder: Path) -> None:
    server = EmbeddedRedis(folder / "redis")
    server.start()
    assert server.running()
    server.stop()
    assert not server.running()
    assert [path.name for path in folder.iterdir()] == ["redis.log"]
