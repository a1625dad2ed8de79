"""Whether two versions of the wire contract can speak to each other: pure, from their descriptors.

Whoever parses a message that another version wrote finds fields by number and reads them by type; what it does not know
it leaves aside. So whatever was released keeps its number, its type and its place, and more may come beside it.
"""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)


def incompatibilities(released: FileDescriptorSet, present: FileDescriptorSet) -> list[str]:
    """Return what the present contract breaks of a released one, one sentence each."""
    messages, enums, services = _messages(present), _enums(present), _services(present)
    broken: list[str] = []
    for name, message in _messages(released).items():
        broken += _of_message(name, message, messages[name]) if name in messages else [f"{name} is gone"]
    for name, enum in _enums(released).items():
        broken += _of_enum(name, enum, enums[name]) if name in enums else [f"{name} is gone"]
    for name, service in _services(released).items():
        broken += _of_service(name, service, services[name]) if name in services else [f"{name} is gone"]
    return broken


def _of_message(name: str, released: DescriptorProto, present: DescriptorProto) -> Iterator[str]:
    by_number = {field.number: field for field in present.field}
    names = {field.name: field.number for field in present.field}
    for field in released.field:
        now = by_number.get(field.number)
        if now is None:
            yield f"{name}.{field.name} is gone: {field.number} is no field any more"
        elif _shape(released, field) != _shape(present, now):
            yield f"{name}.{field.name} ({field.number}) is of another type, or in another place"
        # Health reports are kept as JSON, by names.
        if names.get(field.name, field.number) != field.number or (now is not None and now.name != field.name):
            yield f"{name}.{field.name} has another number or name"


def _of_enum(name: str, released: EnumDescriptorProto, present: EnumDescriptorProto) -> Iterator[str]:
    values = {value.name: value.number for value in present.value}
    for value in released.value:
        if values.get(value.name) != value.number:
            yield f"{name}.{value.name} is not {value.number} any more"


def _of_service(name: str, released: ServiceDescriptorProto, present: ServiceDescriptorProto) -> Iterator[str]:
    methods = {method.name: method for method in present.method}
    for method in released.method:
        if methods.get(method.name) != method:
            yield f"{name}.{method.name} is gone, or speaks of other messages"


def _shape(message: DescriptorProto, field: FieldDescriptorProto) -> tuple[object, ...]:
    """Return what the wire shows of a field; of two fields in one oneof, the later one unsets the other."""
    within = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    return field.type, field.type_name, field.label, within


def _messages(files: FileDescriptorSet) -> dict[str, DescriptorProto]:
    found: dict[str, DescriptorProto] = {}
    for file in files.file:
        for message in file.message_type:
            found |= _with_nested(f"{file.package}.{message.name}", message)
    return found


def _with_nested(name: str, message: DescriptorProto) -> dict[str, DescriptorProto]:
    found = {name: message}
    for nested in message.nested_type:
        found |= _with_nested(f"{name}.{nested.name}", nested)
    return found


def _enums(files: FileDescriptorSet) -> dict[str, EnumDescriptorProto]:
    nested = {f"{name}.{enum.name}": enum for name, message in _messages(files).items() for enum in message.enum_type}
    return nested | {f"{file.package}.{enum.name}": enum for file in files.file for enum in file.enum_type}


def _services(files: FileDescriptorSet) -> dict[str, ServiceDescriptorProto]:
    return {f"{file.package}.{service.name}": service for file in files.file for service in file.service}
