"""What a statement is once it is planned: the SQL that the engine gets, and each call of an AI function in it.

Values only, and nothing heavy is imported: plan, calls and doors hand these to each other.
"""

from typing import Any, Literal

from msgspec import Struct, field

from tesela.wire.tasks import Task


class EndpointFacts(Struct, frozen=True):
    """What a plan must know of an endpoint.  `images` and `json_schema` say what its model can do."""

    name: str
    task: Task
    images: bool = True
    json_schema: bool = True


class Site(Struct, frozen=True):
    """One call of an AI function in a statement; equal calls share one.

    `udf` is the name under which the engine has it.  `value` is the Spark DDL type of one answer, `returns` that of
    the column: the same, or STRUCT<result: value, errorMessage: STRING> when errors do not fail the statement.
    `arguments` are the DDL types of what varies from row to row where they are known, "" where not.  `body` are
    constant fields of the request; `constants` are what the function's `Speaker` needs.  A `constant` site has the same
    arguments in every row.
    """

    udf: str
    function: str
    endpoint: str
    task: Task
    value: str
    returns: str
    fail_on_error: bool = True
    arguments: tuple[str, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    position: tuple[int, int] = (1, 1)
    constant: bool = False


class Source(Struct, frozen=True):
    """Files that a statement reads, made a temporary view of its session.  `sail` says that Sail reads them.

    Without a view's name it is only looked whether there are any.
    """

    view: str
    format: str
    paths: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    schema: str = ""
    sail: bool = False


class Local(Struct, frozen=True):
    """A statement that needs no engine: it looks at or changes the warehouse folder or the session."""

    action: str
    arguments: dict[str, Any] = field(default_factory=dict)


Kind = Literal["query", "write", "explain", "other"]


class Plan(Struct, frozen=True):
    """A statement ready to run.

    `kind` is "write" for what keeps its answers by default: CREATE TABLE AS, INSERT, MERGE, UPDATE.  `before` and
    `after` are statements around `sql`; those after are run whatever happened.  `folders` are those that the
    statement makes, removed again when it fails.  `save` is the folder of a Delta table whose content
    and columns the rows of `sql` replace, whole or not at all.  A write that is not `counted` does not tell how many
    rows it was about.  `rows` counts the rows that the calls will be made for, where a query
    can tell that without making them.  `local` is set when no engine is asked at all.
    """

    sql: str
    sites: tuple[Site, ...] = ()
    kind: Kind = "query"
    sources: tuple[Source, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    save: str = ""
    counted: bool = True
    rows: str = ""
    local: Local | None = None


class PlanSettings(Struct, frozen=True):
    """What the server allows and assumes.

    `roots` are folders and URLs below which a statement may read and write; the warehouse is always one of them.
    `endpoints` are the defaults of the small functions, under the function's name, under the task, or under "default".
    `engine` says whose SQL is written.  With a remote engine, table names are its own catalog's.
    """

    warehouse: str
    roots: tuple[str, ...] = ()
    endpoints: dict[str, str] = field(default_factory=dict)
    engine: Literal["sail", "spark"] = "sail"
    remote: bool = False


class Parameter(Struct, frozen=True):
    """A named parameter of a statement.  `value` is text, as the statement API has it; None is NULL."""

    name: str
    value: str | None
    type: str = "STRING"
