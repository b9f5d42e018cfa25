"""read_files: files of a folder or an object store as a table.

docs.databricks.com/aws/en/sql/language-manual/functions/read_files.  The options that have the same meaning in Spark's
readers go to them; the others are refused by name.
"""

from sqlglot import exp

from tesela.sql.dialect.constants import NotConstant, constant
from tesela.sql.dialect.deaf import unheeded
from tesela.sql.dialect.paths import Outside, allowed
from tesela.sql.dialect.reading import Statement
from tesela.sql.site import PlanSettings, Source

FORMATS = {
    "parquet": "parquet", "csv": "csv", "json": "json", "text": "text", "binaryfile": "binaryFile", "delta": "delta",
    "orc": "orc", "avro": "avro",
}  # fmt: skip
ENDINGS = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".txt": "text", ".png": "binaryFile", ".jpg": "binaryFile", ".jpeg": "binaryFile", ".pdf": "binaryFile",
}  # fmt: skip
"""The format of files when none is named."""
OPTIONS = {
    "header": "header", "delimiter": "sep", "sep": "sep", "quote": "quote", "escape": "escape", "encoding": "encoding",
    "nullvalue": "nullValue", "multiline": "multiLine", "inferschema": "inferSchema", "comment": "comment",
    "pathglobfilter": "pathGlobFilter", "fileextension": "fileExtension", "recursivefilelookup": "recursiveFileLookup",
    "wholetext": "wholetext", "linesep": "lineSep", "dateformat": "dateFormat", "timestampformat": "timestampFormat",
    "versionasof": "versionAsOf", "timestampasof": "timestampAsOf", "mode": "mode", "mergeschema": "mergeSchema",
    "ignoreleadingwhitespace": "ignoreLeadingWhiteSpace", "ignoretrailingwhitespace": "ignoreTrailingWhiteSpace",
}  # fmt: skip
DEFAULTS = {"csv": {"header": "true", "inferSchema": "true"}}
"""As read_files has them, where Spark's readers have others."""


def read_files(statement: Statement, tree: exp.Expr, tag: str, settings: PlanSettings) -> tuple[Source, ...]:
    """Put a view's name where each read_files stands.  Gives the views to make."""
    out: list[Source] = []
    for node in list(tree.find_all(exp.Anonymous)):
        if str(node.name).lower() != "read_files":
            continue
        table = node.parent
        if not isinstance(table, exp.Table):
            raise statement.wrong(
                node, "read_files is a table: write SELECT … FROM read_files(…)", "UNSUPPORTED_FEATURE", "0A000"
            )
        source = _source(statement, node, f"tesela_{tag}_files_{len(out) + 1}", settings)
        out.append(source)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier("read_files")))
        table.set("this", exp.to_identifier(source.view))
    return tuple(out)


def _source(statement: Statement, node: exp.Expr, view: str, settings: PlanSettings) -> Source:
    values: dict[str, str] = {}
    for at, one in enumerate(node.expressions):
        name = str(one.this.name) if isinstance(one, exp.Kwarg) else ("path" if at == 0 else "")
        body = one.expression if isinstance(one, exp.Kwarg) else one
        if not name:
            raise statement.wrong(
                one, "read_files takes options by name: write format => 'csv'", "INVALID_ARGUMENT", "22023"
            )
        try:
            value = constant(body)
        except NotConstant:
            told = f"{name} of read_files must be a constant, not {body.sql('spark')[:80]}"
            raise statement.wrong(one, told, "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "42K09") from None
        values[name.lower()] = str(value).lower() if isinstance(value, bool) else str(value)
    path = values.pop("path", "")
    if not path:
        raise statement.wrong(
            node,
            "read_files needs a path: write read_files('folder/*.csv')",
            "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
            "42605",
        )
    schema = values.pop("schema", "")
    kind = FORMATS.get(values.get("format", "").lower()) if "format" in values else guessed(path)
    if kind is None:
        named = values.get("format")
        told = f"read_files knows no format {named!r}" if named else f"the format of {path!r} is not clear"
        raise statement.wrong(
            node, f"{told}: write format => one of {', '.join(FORMATS.values())}", "INVALID_ARGUMENT", "22023"
        )
    values.pop("format", None)
    options = dict(DEFAULTS.get(kind, {}))
    for name, value in values.items():
        if name not in OPTIONS:
            raise statement.wrong(node, f"read_files has no option {name!r} here", "UNSUPPORTED_FEATURE", "0A000")
        options[OPTIONS[name]] = value
    if schema:
        options.pop("inferSchema", None)
    deaf = unheeded(kind, options) if settings.engine == "sail" else ""
    if deaf:
        raise statement.wrong(node, deaf, "UNSUPPORTED_FEATURE", "0A000")
    where = checked(statement, node, path, settings)
    return Source(view, kind, (where,), options, schema, sail=settings.engine == "sail")


def guessed(path: str) -> str | None:
    lower = path.lower()
    return next((kind for ending, kind in ENDINGS.items() if lower.endswith(ending)), None)


def checked(statement: Statement, node: exp.Expr, path: str, settings: PlanSettings) -> str:
    """A path that a statement may use, or the error that says why not."""
    try:
        return allowed(path, settings)
    except Outside as exc:
        raise statement.wrong(node, f"the path {path!r} {exc}", "PERMISSION_DENIED", "42501") from None
