"""The wire contract against those that were released: an agent and a hub one version apart must understand each other.

When a release is made, what it speaks is kept by `python -m tests.golden.released_protos <version>`.
"""

from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

from tests.golden.compatibility import incompatibilities
from tests.golden.released_protos import present, released


@pytest.mark.parametrize("version", released())
def test_nothing_that_was_released_is_broken(version: str) -> None:
    assert incompatibilities(released()[version], present()) == []


def test_there_is_a_release_to_compare_with() -> None:
    assert released()


def message(files: FileDescriptorSet, name: str) -> DescriptorProto:
    return next(each for file in files.file for each in file.message_type if each.name == name)


def field(files: FileDescriptorSet, path: str) -> FieldDescriptorProto:
    of, name = path.split(".")
    return next(each for each in message(files, of).field if each.name == name)


def renumber(files: FileDescriptorSet) -> None:
    field(files, "Hello.applied_version").number = 99


def retype(files: FileDescriptorSet) -> None:
    field(files, "Hello.applied_version").type = FieldDescriptorProto.TYPE_STRING


def repeat(files: FileDescriptorSet) -> None:
    field(files, "Hello.boot_id").label = FieldDescriptorProto.LABEL_REPEATED


def point_elsewhere(files: FileDescriptorSet) -> None:
    field(files, "AgentMessage.hello").type_name = ".penguinmails.agent.v1.Pong"


def remove(files: FileDescriptorSet) -> None:
    fields = message(files, "Hello").field
    fields.remove(field(files, "Hello.boot_id"))


def swap(files: FileDescriptorSet) -> None:
    """Give a number that was in use to another of the same type."""
    version, boot = field(files, "Hello.agent_version"), field(files, "Hello.boot_id")
    version.number, boot.number = boot.number, version.number


def rename(files: FileDescriptorSet) -> None:
    field(files, "HealthReport.agent_version").name = "release"


def leave_the_oneof(files: FileDescriptorSet) -> None:
    field(files, "AgentMessage.hello").ClearField("oneof_index")


def drop_a_message(files: FileDescriptorSet) -> None:
    for file in files.file:
        kept = [each for each in file.message_type if each.name != "Pong"]
        del file.message_type[:]
        file.message_type.extend(kept)


def change_a_value(files: FileDescriptorSet) -> None:
    message(files, "ConfigurationResult").enum_type[0].value[1].number = 9


def change_a_call(files: FileDescriptorSet) -> None:
    for file in files.file:
        for service in file.service:
            service.method[0].input_type = ".penguinmails.agent.v1.Hello"


@pytest.mark.parametrize(
    "change",
    [
        renumber,
        retype,
        repeat,
        point_elsewhere,
        remove,
        swap,
        rename,
        leave_the_oneof,
        drop_a_message,
        change_a_value,
        change_a_call,
    ],
)
def test_each_break_is_found(change: Callable[[FileDescriptorSet], None]) -> None:
    changed = present()
    change(changed)
    assert incompatibilities(present(), changed)


def test_what_comes_beside_it_breaks_nothing() -> None:
    more = present()
    message(more, "Hello").field.add(name="more", number=1000, type=FieldDescriptorProto.TYPE_STRING)
    message(more, "AgentMessage").field.add(
        name="news", number=1001, type=FieldDescriptorProto.TYPE_STRING, oneof_index=0
    )
    message(more, "ConfigurationResult").enum_type[0].value.add(name="OUTCOME_OTHER", number=99)
    more.file[0].message_type.add(name="News")
    assert incompatibilities(present(), more) == []
