"""An ACME authority that has a bad day (RFC 8555): it can be reached, and refuses every request but the first two.

    python -m tests.fakes.acme ADDRESS PORT CERTIFICATE KEY

Below /limited it answers 429 with the seconds to wait (section 6.6), below /nonce it finds no nonce good (section 6.5).
Prints "ready" when it listens.
"""

import json
import ssl
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RETRY_AFTER = 7200
_RESOURCES = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
_PROBLEMS = {
    "limited": (HTTPStatus.TOO_MANY_REQUESTS, "rateLimited", "too many registrations for this address"),
    "nonce": (HTTPStatus.BAD_REQUEST, "badNonce", "no nonce is good today"),
}


class _Authority(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        host, kind = self.headers["Host"], self.path.split("/")[1]
        self._answer(HTTPStatus.OK, {name: f"https://{host}/{kind}/{name}" for name in _RESOURCES})

    def do_HEAD(self) -> None:
        self._answer(HTTPStatus.OK, None)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, problem, detail = _PROBLEMS[self.path.split("/")[1]]
        body = {"type": f"urn:ietf:params:acme:error:{problem}", "detail": detail, "status": status}
        self._answer(status, body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""

    def _answer(self, status: HTTPStatus, body: object) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/json" if status < HTTPStatus.BAD_REQUEST else "application/problem+json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Replay-Nonce", "bm9uY2Vub25jZW5vbmNl")
        if status is HTTPStatus.TOO_MANY_REQUESTS:
            self.send_header("Retry-After", str(RETRY_AFTER))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve until killed."""
    address, port, certificate, key = sys.argv[1:]
    server = ThreadingHTTPServer((address, int(port)), _Authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
