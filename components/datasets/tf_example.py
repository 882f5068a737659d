"""Parses `tf.train.Example` without importing TensorFlow, which takes seconds.

The message, that of tensorflow/core/example/example.proto, is described here in a pool of its own, so that it doesn't
clash with TensorFlow's.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

Field = descriptor_pb2.FieldDescriptorProto
__all__ = ["DecodeError", "example_class"]


@functools.cache
def example_class() -> Any:
    """Returns the class of the message; its `FromString` parses one, or raises DecodeError."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="example", syntax="proto3")
    _message(file, "BytesList", value=(1, Field.TYPE_BYTES, Field.LABEL_REPEATED, ""))
    _message(file, "FloatList", value=(1, Field.TYPE_FLOAT, Field.LABEL_REPEATED, ""))
    _message(file, "Int64List", value=(1, Field.TYPE_INT64, Field.LABEL_REPEATED, ""))
    feature = _message(
        file,
        "Feature",
        bytes_list=(1, Field.TYPE_MESSAGE, Field.LABEL_OPTIONAL, ".example.BytesList"),
        float_list=(2, Field.TYPE_MESSAGE, Field.LABEL_OPTIONAL, ".example.FloatList"),
        int64_list=(3, Field.TYPE_MESSAGE, Field.LABEL_OPTIONAL, ".example.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = _message(
        file, "Features", feature=(1, Field.TYPE_MESSAGE, Field.LABEL_REPEATED, ".example.Features.FeatureEntry")
    )
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=Field.TYPE_MESSAGE, label=Field.LABEL_OPTIONAL, type_name=".example.Feature"
    )
    _message(file, "Example", features=(1, Field.TYPE_MESSAGE, Field.LABEL_OPTIONAL, ".example.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("example.Example"))


def _message(
    file: descriptor_pb2.FileDescriptorProto, name: str, **fields: tuple[int, Any, Any, str]
) -> descriptor_pb2.DescriptorProto:
    """Adds a message; a field is its number, type, label and the name of its message."""
    message = file.message_type.add(name=name)
    for field, (number, kind, label, type_name) in fields.items():
        message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name or None)
    return message
