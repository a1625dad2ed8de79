"""A bucket by the S3 protocol in memory, by HTTPS, as far as restic uses one, for whoever signs with the right key.

Signatures (AWS Signature Version 4) are made again by botocore from what came, and compared.
"""

import hashlib
import hmac
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

BUCKET = "backups"
REGION = "eu-central-1"
KEY_ID = "PENGUINKEYOFTHEPLACE"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<date>\d+)/(?P<region>[^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_WRITTEN_AT = formatdate(usegmt=True)


@dataclass
class S3Place:
    """What is there, by key; and each request, in one line."""

    secret: str
    certificate: Path
    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    @property
    def repository(self) -> str:
        """Return the place as a tenant would name it."""
        return f"s3:https://127.0.0.1:{self.port}/{BUCKET}/mail"

    def credentials(self, secret: str) -> Mapping[str, str]:
        """Return what has restic log in, and believe the certificate as a public one."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": secret,
            "SSL_CERT_FILE": str(self.certificate),
        }

    def is_signed(self, method: str, url: str, headers: Message) -> bool:
        """Whether the request was signed with our secret."""
        claimed = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
        if claimed is None or claimed["id"] != KEY_ID:
            return False
        signed = {name: headers[name] for name in claimed["headers"].split(";") if name in headers}
        request = AWSRequest(method, url, headers=signed)
        request.context["timestamp"] = headers.get("X-Amz-Date", "")
        auth = S3SigV4Auth(Credentials(KEY_ID, self.secret), "s3", claimed["region"])
        made = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        return hmac.compare_digest(made, claimed["signature"])


@contextmanager
def s3_place(certificate: Path, key: Path, secret: str) -> Iterator[S3Place]:
    """Run one."""
    place = S3Place(secret, certificate)

    class OfThisPlace(_Handler):
        pass

    OfThisPlace.place = place
    with ThreadingHTTPServer(("127.0.0.1", 0), OfThisPlace) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        place.port = server.server_address[1]
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield place
        finally:
            server.shutdown()
            serving.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    place: S3Place

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            # It does not believe our certificate, or is gone.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Write nothing to the terminal."""

    def parse_request(self) -> bool:
        """Let nobody further who did not sign."""
        if not super().parse_request():
            return False
        self.place.seen.append(self.requestline)
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = f"https://127.0.0.1:{self.place.port}{self.path}"
        if not self.place.is_signed(self.command, url, self.headers):
            self._refuse(HTTPStatus.FORBIDDEN, "SignatureDoesNotMatch")
            return False
        return True

    @property
    def key(self) -> str:
        """The object's, empty for the bucket itself."""
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").removeprefix("/")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        """Give an object or a part of it, or say what there is."""
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if not self.key:
            self._tell_of_bucket(query)
            return
        content = self.place.objects.get(self.key)
        if content is None:
            self._refuse(HTTPStatus.NOT_FOUND, "NoSuchKey")
            return
        part = _RANGE.fullmatch(self.headers.get("Range", ""))
        if part is None:
            self._answer(HTTPStatus.OK, content)
            return
        first, last = int(part[1]), int(part[2] or len(content) - 1)
        told = {"Content-Range": f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"}
        self._answer(HTTPStatus.PARTIAL_CONTENT, content[first : last + 1], told)

    def do_PUT(self) -> None:
        """Take an object."""
        self.place.objects[self.key] = self.body
        self._answer(HTTPStatus.OK, b"", {"ETag": _etag(self.body)})

    def do_DELETE(self) -> None:
        """Drop an object."""
        self.place.objects.pop(self.key, None)
        self._answer(HTTPStatus.NO_CONTENT, b"")

    def _tell_of_bucket(self, query: Mapping[str, list[str]]) -> None:
        if "location" in query:
            self._answer(HTTPStatus.OK, f"<LocationConstraint>{REGION}</LocationConstraint>".encode())
            return
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys, folders = [], set()
        for key in sorted(self.place.objects):
            if key.startswith(prefix):
                head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
                if found:
                    folders.add(f"{prefix}{head}{delimiter}")
                else:
                    keys.append(key)
        there = "".join(
            f"<Contents><Key>{escape(quote(key))}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(_etag(self.place.objects[key]))}</ETag><Size>{len(self.place.objects[key])}</Size></Contents>"
            for key in keys
        )
        there += "".join(
            f"<CommonPrefixes><Prefix>{escape(quote(each))}</Prefix></CommonPrefixes>" for each in sorted(folders)
        )
        listed = f"<ListBucketResult><IsTruncated>false</IsTruncated>{there}</ListBucketResult>"
        self._answer(HTTPStatus.OK, listed.encode())

    def _refuse(self, status: HTTPStatus, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _answer(self, status: HTTPStatus, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        described = {"ETag": _etag(content), "Last-Modified": _WRITTEN_AT, "Content-Type": "application/xml"}
        for name, value in {**described, **(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
