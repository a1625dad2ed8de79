"""The wire contract as another version has it: one that was released, or one that knows more than ours.

Messages go over by their octets: what ours does not know stays in them, as it would on the wire.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.golden.released_protos import present, released

PACKAGE = "penguinmails.agent.v1"
#: What the newer version adds to every message, and the kinds of messages and commands that it adds.
MARK, NEWS = "of_a_newer_release", "news"
_MARK_NUMBER, _NEWS_NUMBER = 1000, 1001
_NEW_OUTCOME = 99

M = TypeVar("M", bound=Message)


class OtherVersion:
    """One version; `knows_more` is a newer one than ours."""

    def __init__(self, name: str, files: FileDescriptorSet, *, knows_more: bool) -> None:
        self.name = name
        self.knows_more = knows_more
        self._pool = DescriptorPool()
        for file in files.file:
            self._pool.Add(file)

    def make(self, kind: str, /, **fields: Any) -> Any:  # noqa: ANN401 - no type is known before the run
        """Return a message, in which the newer version has marked whatever it can."""
        made = GetMessageClass(self._pool.FindMessageTypeByName(f"{PACKAGE}.{kind}"))(**fields)
        if self.knows_more:
            _mark(made)
        return made

    def read(self, ours: Message) -> Any:  # noqa: ANN401 - as above
        """Return a message of ours as this version reads it."""
        other = self.make(ours.DESCRIPTOR.name)
        other.Clear()
        other.MergeFromString(ours.SerializeToString())
        return other

    def said(self, theirs: Message, kind: Callable[[], M]) -> M:
        """Return a message of this version as it comes to us."""
        ours = kind()
        ours.MergeFromString(theirs.SerializeToString())
        return ours


def other_versions() -> list[OtherVersion]:
    """Return those that were released, and a newer one."""
    kept = [OtherVersion(name, files, knows_more=False) for name, files in released().items()]
    return [*kept, OtherVersion("newer", _newer(), knows_more=True)]


def _newer() -> FileDescriptorSet:
    files = present()
    for file in files.file:
        for message in file.message_type:
            _extend(message)
            if message.name in {"AgentMessage", "HubMessage", "Command"}:
                message.field.add(
                    name=NEWS,
                    number=_NEWS_NUMBER,
                    type=FieldDescriptorProto.TYPE_STRING,
                    label=FieldDescriptorProto.LABEL_OPTIONAL,
                    oneof_index=0,
                )
            if message.name == "ConfigurationResult":
                message.enum_type[0].value.add(name="OUTCOME_NEW", number=_NEW_OUTCOME)
    return files


def _extend(message: DescriptorProto) -> None:
    message.field.add(
        name=MARK,
        number=_MARK_NUMBER,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )


def _mark(message: Any) -> None:  # noqa: ANN401 - as above
    setattr(message, MARK, "more")
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for each in value if descriptor.is_repeated else [value]:
                _mark(each)
