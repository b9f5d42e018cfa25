"""Types of Spark SQL as pyspark has them, for the UDFs' own types: the engine need not parse them."""

from pyspark.sql import types as spark

from tesela.sql.types import Type, read


def spark_type(ddl: str) -> spark.DataType:
    return of_type(read(ddl))


def of_type(kind: Type) -> spark.DataType:
    match kind.name:
        case "STRUCT":
            return spark.StructType(
                [spark.StructField(name, of_type(part)) for name, part in zip(kind.names, kind.parts, strict=True)]
            )
        case "ARRAY":
            return spark.ArrayType(of_type(kind.parts[0]))
        case "MAP":
            return spark.MapType(of_type(kind.parts[0]), of_type(kind.parts[1]))
        case "DECIMAL":
            return spark.DecimalType(kind.precision, kind.scale)
    return PLAIN[kind.name]


PLAIN: dict[str, spark.DataType] = {
    "BOOLEAN": spark.BooleanType(), "TINYINT": spark.ByteType(), "SMALLINT": spark.ShortType(),
    "INT": spark.IntegerType(), "BIGINT": spark.LongType(), "FLOAT": spark.FloatType(), "DOUBLE": spark.DoubleType(),
    "STRING": spark.StringType(), "BINARY": spark.BinaryType(), "DATE": spark.DateType(),
    "TIMESTAMP": spark.TimestampType(), "TIMESTAMP_NTZ": spark.TimestampNTZType(),
}  # fmt: skip
