"""The rules of buf's STANDARD category that apply here, read from protoc's descriptors, and one on units."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")

PROTO = Path(__file__).resolve().parents[2] / "proto"
PASCAL = re.compile(r"^([A-Z][a-z0-9]*)+$")
LOWER_SNAKE = re.compile(r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
UPPER_SNAKE = re.compile(r"^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$")
NAMES_WITHOUT_PREFIX = {"Polarity"}
"""These value names stand in results as they are: no prefix; the enum is nested to keep them apart."""

UNIT = re.compile(
    r"pixel|millisecond|degree|micrometre|bytes|\b0 to 1\b|\b0\.5 to 1\b"
    r"|number of|nanosecond|index|position|indices|cursor|most results|requests|results kept",
    re.IGNORECASE,
)
PUBLIC_INTERFACES = {"inference"}
"""Packages whose names, numbers and types are other people's: only our words about them are held to rules."""

FLOATS = {FieldDescriptorProto.TYPE_FLOAT, FieldDescriptorProto.TYPE_DOUBLE}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    target = tmp_path_factory.mktemp("descriptors") / "set.pb"
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    well_known = resources.files("grpc_tools") / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={well_known}",
            "--include_source_info",
            f"--descriptor_set_out={target}",
            *sources,
        ]
    )
    assert status == 0
    described = FileDescriptorSet.FromString(target.read_bytes())
    assert len(described.file) == len(sources) >= 7
    return list(described.file)


@pytest.fixture(scope="module")
def own(files: list[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """The files whose names are this project's."""
    return [file for file in files if file.package not in PUBLIC_INTERFACES]


def messages(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], DescriptorProto]]:
    def below(
        path: tuple[int, ...], message: DescriptorProto
    ) -> Iterator[tuple[tuple[int, ...], DescriptorProto]]:
        yield path, message
        for index, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:  # protoc's own, nobody wrote it
                yield from below((*path, 3, index), nested)

    for index, message in enumerate(file.message_type):
        yield from below((4, index), message)


def enums(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], EnumDescriptorProto]]:
    yield from (((5, index), enum) for index, enum in enumerate(file.enum_type))
    for path, message in messages(file):
        yield from (((*path, 4, index), enum) for index, enum in enumerate(message.enum_type))


def comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}


def test_package_and_file_names(own: list[FileDescriptorProto]) -> None:
    for file in own:
        path = Path(file.name)
        assert file.syntax == "proto3"
        assert file.package.replace(".", "/") == str(path.parent)
        assert re.search(r"\.v[1-9][0-9]*$", file.package)
        assert LOWER_SNAKE.match(path.stem)
        assert not file.public_dependency
        assert not file.weak_dependency


def test_every_import_is_used(files: list[FileDescriptorProto]) -> None:
    home = {f".{file.package}.{m.name}": file.name for file in files for _, m in messages(file)}
    home |= {f".{file.package}.{e.name}": file.name for file in files for _, e in enums(file)}
    home[".google.protobuf.Timestamp"] = "google/protobuf/timestamp.proto"
    for file in files:
        used = {home.get(f.type_name, file.name) for _, m in messages(file) for f in m.field if f.type_name}
        used |= {home[m.input_type] for s in file.service for m in s.method}
        used |= {home[m.output_type] for s in file.service for m in s.method}
        assert set(file.dependency) == used - {file.name}, file.name


def test_message_and_field_names(own: list[FileDescriptorProto]) -> None:
    for file in own:
        for _, message in messages(file):
            assert PASCAL.match(message.name), message.name
            for field in message.field:
                assert LOWER_SNAKE.match(field.name), f"{message.name}.{field.name}"
                assert field.label != FieldDescriptorProto.LABEL_REQUIRED
            for oneof in message.oneof_decl:
                assert LOWER_SNAKE.match(oneof.name.lstrip("_")), f"{message.name}.{oneof.name}"


def test_enums(own: list[FileDescriptorProto]) -> None:
    for file in own:
        for path, enum in enums(file):
            prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
            assert PASCAL.match(enum.name)
            assert not enum.options.allow_alias
            assert enum.value[0].number == 0
            assert enum.value[0].name == f"{prefix}UNSPECIFIED"
            assert all(UPPER_SNAKE.match(value.name) for value in enum.value)
            if enum.name in NAMES_WITHOUT_PREFIX:
                assert len(path) > 2, f"{enum.name} has names without a prefix, so it must be nested"
            else:
                assert all(value.name.startswith(prefix) for value in enum.value), enum.name


def test_services(own: list[FileDescriptorProto]) -> None:
    seen: set[str] = set()
    methods = 0
    for file in own:
        for service in file.service:
            assert PASCAL.match(service.name)
            assert service.name.endswith("Service")
            for method in service.method:
                methods += 1
                assert PASCAL.match(method.name)
                assert not method.client_streaming
                assert method.input_type == f".{file.package}.{method.name}Request"
                assert method.output_type == f".{file.package}.{method.name}Response"
                assert not {method.input_type, method.output_type} & seen
                seen |= {method.input_type, method.output_type}
    assert methods == 25


def test_everything_has_a_comment(files: list[FileDescriptorProto]) -> None:
    for file in files:
        words = comments(file)
        wanted = {}
        for path, message in messages(file):
            wanted[path] = message.name
            wanted |= {(*path, 2, i): f"{message.name}.{f.name}" for i, f in enumerate(message.field)}
        for path, enum in enums(file):
            wanted[path] = enum.name
            wanted |= {(*path, 2, i): f"{enum.name}.{v.name}" for i, v in enumerate(enum.value)}
        for index, service in enumerate(file.service):
            wanted[(6, index)] = service.name
            wanted |= {(6, index, 2, i): f"{service.name}.{m.name}" for i, m in enumerate(service.method)}
        silent = [name for path, name in wanted.items() if not words.get(path)]
        assert not silent, f"{file.name}: no comment on {silent}"


def test_measures_name_their_unit(files: list[FileDescriptorProto]) -> None:
    checked = 0
    for file in files:
        words = comments(file)
        for path, message in messages(file):
            for index, field in enumerate(message.field):
                counted = field.type in {FieldDescriptorProto.TYPE_UINT32, FieldDescriptorProto.TYPE_UINT64}
                if field.type in FLOATS or counted:
                    checked += 1
                    comment = words[(*path, 2, index)]
                    assert UNIT.search(comment), f"{message.name}.{field.name}: {comment!r} names no unit"
    assert checked > 30


def test_polarity_has_the_names_that_results_promise(own: list[FileDescriptorProto]) -> None:
    polarity = next(enum for file in own for _, enum in enums(file) if enum.name == "Polarity")
    assert [value.name for value in polarity.value][1:] == ["P_ARM_UP", "Q_ARM_UP", "UNSURE"]
    assert isinstance(polarity, descriptor_pb2.EnumDescriptorProto)
