"""From the text of a statement to what the engine gets: read this first.

parse → bind parameters → what a statement may be and touch → the dialect → sites → sorts and limits below calls → SQL.
Pure but for looking at folders: which tables are there, and where paths really lead.
"""

from collections.abc import Sequence

from sqlglot import exp
from sqlglot.errors import ErrorLevel, UnsupportedError

from tesela.errors import StatementError
from tesela.sql.arguments import Find
from tesela.sql.dialect.commands import columns, command
from tesela.sql.dialect.files import read_files
from tesela.sql.dialect.parameters import bind
from tesela.sql.dialect.reading import Statement
from tesela.sql.dialect.refused import emptied, refuse
from tesela.sql.dialect.saying import say_where
from tesela.sql.dialect.tables import Tables
from tesela.sql.plan_groups import grouped
from tesela.sql.plan_lift import lift
from tesela.sql.plan_sites import Sites
from tesela.sql.site import Kind, Local, Parameter, Plan, PlanSettings


def plan(
    text: str,
    *,
    tag: str,
    endpoints: Find,
    parameters: Sequence[Parameter] = (),
    settings: PlanSettings,
    catalog: str,
    schema: str,
    most_rows: int | None = None,
    user: str = "",
) -> Plan:
    """The plan of a statement.  `tag` is made of letters, digits and _, another one for each statement of a session.
    `user` is what current_user() says.
    Of a query's rows no more than `most_rows` are wanted: one more is planned for, which tells that there are more.

    Raises StatementError with the place of what is wrong.
    """
    statement = Statement(text)
    shown = columns(statement, settings, catalog, schema)
    ours = command(statement, settings, catalog, schema) if shown is None else None
    if ours is not None:
        return ours
    refuse(statement)
    tree = shown or emptied(bind(statement, statement.tree(), parameters))
    tables = Tables(statement, settings, catalog, schema, tag)
    tables.admit(tree)
    described = isinstance(tree, exp.Describe)
    tree = tables.special(tree)
    if tables.local is not None:
        return Plan(sql="", kind="other", local=tables.local)
    say_where(tree, settings, catalog, schema, user)
    sources = read_files(statement, tree, tag, settings)
    tables.resolve(tree)
    if tables.local is not None:
        return Plan(sql="", kind="other", local=tables.local)
    sites = Sites(statement, tag, endpoints, settings)
    sites.rewrite(tree)
    if most_rows is not None and sites.all and isinstance(tree, exp.Query) and not statement.explain:
        tree = limited(tree, most_rows + 1)
    tree = lift(tree, frozenset(site.udf for site in sites.all))
    tree = grouped(tree, frozenset(site.udf for site in sites.all))
    written_tree = tree.expression if tables.save else tree
    return Plan(
        sql=statement.explain + written(written_tree),
        sites=sites.all,
        kind=kind_of(statement, tree),
        sources=tables.looks + sources,
        before=tables.before,
        after=tables.after,
        folders=tables.folders,
        save=tables.save,
        counted=not isinstance(tree, exp.Update | exp.Delete | exp.Merge),
        rows=rows_of(tree, frozenset(site.udf for site in sites.all)),
        local=Local("columns" if shown else "describe") if described else None,
    )


def limited(tree: exp.Query, most: int) -> exp.Query:
    """The query with a limit, so that calls are made for the rows that are wanted and no others."""
    limit = tree.args.get("limit")
    if limit is None:
        return tree.limit(most, copy=False)
    count = limit.expression if isinstance(limit, exp.Limit) else None
    if isinstance(count, exp.Literal) and count.is_int and int(count.name) > most:
        return tree.limit(most, copy=False)
    return tree


def rows_of(tree: exp.Expr, udfs: frozenset[str]) -> str:
    """A query that counts the rows of the statement, where each call in it is made once for each of them."""
    query = tree.expression if isinstance(tree, exp.Create | exp.Insert) else tree
    if not udfs or not isinstance(query, exp.Select) or query.args.get("distinct") or query.args.get("group"):
        return ""
    for call in tree.find_all(exp.Anonymous):
        if str(call.name) in udfs and not _projected(call, query):
            return ""
    return written(exp.select("count(*) AS n").from_(query.copy().subquery("t")))


def _projected(call: exp.Expr, query: exp.Select) -> bool:
    """Whether a call stands in the columns of this very query, and in no aggregate."""
    node: exp.Expr = call
    while node.parent is not None and node.parent is not query:
        node = node.parent
        if isinstance(node, exp.AggFunc | exp.Select):
            return False
    return node.parent is query and node.arg_key == "expressions"


def kind_of(statement: Statement, tree: exp.Expr) -> Kind:
    if statement.explain:
        return "explain"
    if isinstance(tree, exp.Create) and tree.kind != "TABLE":
        return "other"
    if isinstance(tree, exp.Create | exp.Insert | exp.Merge | exp.Update | exp.Delete):
        return "write"
    return "query" if isinstance(tree, exp.Query | exp.Values) else "other"


def written(tree: exp.Expr) -> str:
    """Spark's SQL.  Comments are left out: what the engine reads is what was looked at."""
    try:
        return tree.sql("spark", comments=False, normalize_functions=False, unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as exc:
        raise StatementError(
            f"the statement has what no engine here can run: {exc}",
            error_class="UNSUPPORTED_FEATURE",
            sql_state="0A000",
        ) from exc
