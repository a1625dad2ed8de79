"""What was released of the wire contract, kept; run as a program, keep what is now, under the release's version.

    python -m tests.golden.released_protos 0.1.0

A release is kept for as long as an agent or a hub of it may speak to one of ours: until the second one after it.
"""

import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from protos.agent.v1 import (
    commands_pb2,
    configuration_pb2,
    delivery_pb2,
    enrolment_pb2,
    link_pb2,
    root_half_pb2,
    telemetry_pb2,
)
from protos.queue.v1 import envelope_pb2

FOLDER = Path(__file__).parent / "protos"
#: Each after those that it imports.
_MODULES = (
    commands_pb2,
    configuration_pb2,
    delivery_pb2,
    telemetry_pb2,
    enrolment_pb2,
    link_pb2,
    root_half_pb2,
    envelope_pb2,
)


def present() -> FileDescriptorSet:
    """Return the wire contract as it is now."""
    files = FileDescriptorSet()
    for module in _MODULES:
        described = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(described)
        files.file.append(described)
    return files


def released() -> dict[str, FileDescriptorSet]:
    """Return what is kept, by version."""
    return {path.stem: FileDescriptorSet.FromString(path.read_bytes()) for path in sorted(FOLDER.glob("*.binpb"))}


def main() -> None:
    """Keep what is now."""
    (version,) = sys.argv[1:]
    (FOLDER / f"{version}.binpb").write_bytes(present().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
