"""A mail server in two small threads, for what looks at servers from outside: SMTP with STARTTLS, and IMAPS.

It behaves as a good one does: it relays for nobody, knows one mailbox, and delivers at once. A test makes it bad by one
switch at a time.
"""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from typing import BinaryIO, cast


@dataclass
class FakeMailServer:
    """Its mailbox and its faults."""

    hostname: str
    mailbox: str
    password: str
    tls: ssl.SSLContext
    relays: bool = False
    knows_everyone: bool = False
    offers_starttls: bool = True
    loses_mail: bool = False
    #: What is in the mailbox; deleted messages are gone.
    messages: list[bytes] = field(default_factory=list)
    smtp_port: int = 0
    imaps_port: int = 0

    def reply_to_recipient(self, recipient: str) -> str:
        if recipient == self.mailbox:
            return "250 2.1.5 Ok"
        if recipient.endswith(f"@{self.hostname}"):
            return "250 2.1.5 Ok" if self.knows_everyone else "550 5.1.1 User unknown"
        return "250 2.1.5 Ok" if self.relays else "554 5.7.1 Relay access denied"

    def deliver(self, content: bytes) -> None:
        if not self.loses_mail:
            self.messages.append(content)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    mail: FakeMailServer


class _Conversation(socketserver.BaseRequestHandler):
    """Lines in, lines out."""

    def setup(self) -> None:
        self.mail = cast("_Server", self.server).mail
        self.connection: socket.socket = self.request
        self.lines: BinaryIO = self.connection.makefile("rb")

    def finish(self) -> None:
        self.lines.close()
        self.connection.close()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.converse()

    def converse(self) -> None:
        raise NotImplementedError

    def say(self, *lines: str) -> None:
        self.connection.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def hear(self) -> str:
        return self.lines.readline().decode().rstrip("\r\n")

    def start_tls(self) -> None:
        self.lines.close()
        self.connection = self.mail.tls.wrap_socket(self.connection, server_side=True)
        self.lines = self.connection.makefile("rb")


class _Smtp(_Conversation):
    def converse(self) -> None:
        self.say(f"220 {self.mail.hostname} ESMTP")
        while line := self.hear():
            self.answer(*line.partition(" ")[::2])

    def answer(self, verb: str, rest: str) -> None:
        match verb.upper():
            case "EHLO":
                starttls = ["250-STARTTLS"] if self.mail.offers_starttls else []
                self.say(f"250-{self.mail.hostname}", *starttls, "250 8BITMIME")
            case "STARTTLS":
                self.say("220 2.0.0 Ready")
                self.start_tls()
            case "RCPT":
                self.say(self.mail.reply_to_recipient(rest[rest.index("<") + 1 : rest.index(">")]))
            case "DATA":
                self.say("354 Go on")
                self.mail.deliver(b"".join(iter(self.lines.readline, b".\r\n")))
                self.say("250 2.0.0 Ok: queued")
            case "QUIT":
                self.say("221 2.0.0 Bye")
            case _:
                self.say("250 2.0.0 Ok")


class _Imap(_Conversation):
    def converse(self) -> None:
        self.start_tls()
        self.deleted: set[int] = set()
        self.say("* OK [CAPABILITY IMAP4rev1] ready")
        while line := self.hear():
            tag, verb, *rest = line.split(" ")
            self.answer(tag, verb.upper(), " ".join(rest))

    def answer(self, tag: str, verb: str, rest: str) -> None:
        match verb:
            case "CAPABILITY":
                self.say("* CAPABILITY IMAP4rev1")
            case "LOGIN" if self.mail.password not in rest or self.mail.mailbox not in rest:
                self.say(f"{tag} NO [AUTHENTICATIONFAILED] Authentication failed.")
                return
            case "SELECT":
                self.say(f"* {len(self.mail.messages)} EXISTS")
            case "SEARCH":
                self.say(" ".join(["* SEARCH", *self.found(rest.split('"')[1])]))
            case "STORE":
                self.deleted.add(int(rest.split(" ", maxsplit=1)[0]) - 1)
            case "EXPUNGE":
                kept = [m for number, m in enumerate(self.mail.messages) if number not in self.deleted]
                self.mail.messages[:] = kept
            case "LOGOUT":
                self.say("* BYE")
        self.say(f"{tag} OK done")

    def found(self, message_id: str) -> list[str]:
        messages = [message_from_bytes(content) for content in self.mail.messages]
        return [str(number + 1) for number, m in enumerate(messages) if m["Message-ID"] == message_id]


@contextmanager
def running_mail_server(hostname: str, mailbox: str, password: str, chain: Path) -> Iterator[FakeMailServer]:
    """Run the server on loopback; `chain` holds its key and certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    mail = FakeMailServer(hostname, mailbox, password, tls)
    with contextlib.ExitStack() as stack:
        mail.smtp_port, mail.imaps_port = (_run(stack, mail, kind) for kind in (_Smtp, _Imap))
        yield mail


def _run(stack: contextlib.ExitStack, mail: FakeMailServer, kind: type[_Conversation]) -> int:
    server = stack.enter_context(_Server(("127.0.0.1", 0), kind))
    server.mail = mail
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.shutdown)
    port: int = server.server_address[1]
    return port
