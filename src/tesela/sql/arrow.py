"""Types of Spark SQL as types of Arrow, for those who build columns."""

import pyarrow as pa

from tesela.sql.types import Type, read


def arrow(ddl: str) -> pa.DataType:
    """The Arrow type of a DDL type, as Spark and Sail have it."""
    return of_type(read(ddl))


def of_type(kind: Type) -> pa.DataType:
    match kind.name:
        case "STRUCT":
            return pa.struct([(name, of_type(part)) for name, part in zip(kind.names, kind.parts, strict=True)])
        case "ARRAY":
            return pa.list_(of_type(kind.parts[0]))
        case "MAP":
            return pa.map_(of_type(kind.parts[0]), of_type(kind.parts[1]))
        case "DECIMAL":
            return pa.decimal128(kind.precision, kind.scale)
    return PLAIN[kind.name]


PLAIN: dict[str, pa.DataType] = {
    "BOOLEAN": pa.bool_(), "TINYINT": pa.int8(), "SMALLINT": pa.int16(), "INT": pa.int32(), "BIGINT": pa.int64(),
    "FLOAT": pa.float32(), "DOUBLE": pa.float64(), "STRING": pa.string(), "BINARY": pa.binary(),
    "DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us", "UTC"), "TIMESTAMP_NTZ": pa.timestamp("us"),
}  # fmt: skip
