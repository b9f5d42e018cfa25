"""Statements for a Spark session that is its user's own: only the calls of AI functions are rewritten.

What such a session may read and write is no affair of the server, which sees neither its tables nor its files.
"""

from collections.abc import Sequence

from sqlglot import exp

from tesela.sql.arguments import Find
from tesela.sql.dialect.parameters import bind
from tesela.sql.dialect.reading import Statement
from tesela.sql.plan import kind_of, written
from tesela.sql.plan_groups import grouped
from tesela.sql.plan_lift import lift
from tesela.sql.plan_sites import Sites
from tesela.sql.site import Parameter, Plan, PlanSettings


def plan_own(
    text: str, *, tag: str, endpoints: Find, parameters: Sequence[Parameter] = (), settings: PlanSettings
) -> Plan:
    """The plan of a statement; one without calls has no sites and keeps its own text.

    Raises StatementError with the place of what is wrong.
    """
    statement = Statement(text)
    tree = bind(statement, statement.tree(), parameters)
    sites = Sites(statement, tag, endpoints, settings)
    for node in tree.find_all(exp.Anonymous):
        if str(node.name).lower() == "read_files":
            raise statement.wrong(
                node,
                "read_files is not there in a session of your own: read the files with spark.read and name the frame, "
                "or write FROM parquet.`path`",
                "UNSUPPORTED_FEATURE",
                "0A000",
            )
    sites.rewrite(tree)
    if not sites.all:
        return Plan(sql=text, kind=kind_of(statement, tree))
    udfs = frozenset(site.udf for site in sites.all)
    tree = grouped(lift(tree, udfs), udfs)
    return Plan(sql=statement.explain + written(tree), sites=sites.all, kind=kind_of(statement, tree))
