"""Options of read_files that Sail 0.7 takes and does not heed: refused, because rows would be other than asked for."""

from msgspec import Struct


class Deaf(Struct, frozen=True):
    """`instead` is what to write; `heeded` are the values that say what happens anyway; no `kinds` are all formats."""

    option: str
    instead: str
    heeded: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()


DEAF = (
    Deaf("nullValue", "write nullif(column, 'NA')"),
    Deaf("encoding", "files are read as UTF-8", frozenset({"utf-8", "utf8"})),
    Deaf("mode", "a row that does not fit is an error", frozenset({"failfast"})),
    Deaf("dateFormat", "read a STRING and write to_date(column, format)"),
    Deaf("timestampFormat", "read a STRING and write to_timestamp(column, format)"),
    Deaf("ignoreLeadingWhiteSpace", "write ltrim(column)", frozenset({"false"})),
    Deaf("ignoreTrailingWhiteSpace", "write rtrim(column)", frozenset({"false"})),
    Deaf("fileExtension", "write pathGlobFilter => '*.csv'"),
    Deaf("recursiveFileLookup", "folders are read with all that is below them", frozenset({"true"})),
    Deaf("mergeSchema", "the columns of all files are read", frozenset({"true"})),
    Deaf("multiLine", "each line of a JSON file is a value", frozenset({"false"}), frozenset({"json"})),
    Deaf("lineSep", "each line of a JSON file is a value", frozenset({"\n"}), frozenset({"json"})),
)
FORMATS = frozenset({"orc"})
"""Formats that it cannot read."""


def unheeded(kind: str, options: dict[str, str]) -> str:
    """Why Sail cannot read as these options say; "" when it can."""
    if kind in FORMATS:
        return f"{kind} is not read by this engine: write parquet files"
    for one in DEAF:
        value = options.get(one.option)
        if value is not None and value.lower() not in one.heeded and (not one.kinds or kind in one.kinds):
            return f"{one.option} is not heeded by this engine: {one.instead}"
    return ""
