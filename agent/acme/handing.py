"""Hands an issued pair to the root half, which alone writes the mail server's files, and waits for its word."""

import socket
from pathlib import Path

from google.protobuf.message import DecodeError

from agent.configuration import wire
from mailstack.certificates.pair import Pair
from protos.agent.v1.configuration_pb2 import CertificatePair, ConfigurationResult
from protos.agent.v1.root_half_pb2 import RootAnswer, RootRequest

#: Seconds for the root half, which may be applying a configuration first.
_ANSWER_SECONDS = 300.0


class NoAnswer(Exception):
    """The root half did not say what became of it; the message says why."""


def hand_over(pair: Pair, path: Path) -> ConfigurationResult:
    """Return what became of it; raise `NoAnswer`."""
    request = RootRequest(certificate_pair=CertificatePair(chain_pem=pair.chain_pem, key_pem=pair.key_pem))
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(str(path))
            connection.sendall(wire.frame(request.SerializeToString()))
            answer = RootAnswer.FromString(wire.receive(connection))
    except (OSError, wire.BadFrame, DecodeError) as error:
        raise NoAnswer(f"the root half did not answer: {error}") from error
    return answer.configuration_result
