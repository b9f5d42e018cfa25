"""Each call of an AI function becomes a call of a UDF of its own.

A UDF gets what varies from row to row, and after it, where the call is not needed for every row, a condition that says
for which: Apache Spark evaluates all branches of a CASE for all rows when there is a UDF in one.
"""

from collections.abc import Callable

from sqlglot import exp

from tesela.sql import types
from tesela.sql.arguments import Call, Find
from tesela.sql.dialect.constants import chance, changes
from tesela.sql.dialect.reading import Statement
from tesela.sql.functions import FUNCTIONS, Asked, absent
from tesela.sql.site import PlanSettings, Site


class Sites:
    """The sites of one statement.  `names` are the UDFs' names."""

    def __init__(self, statement: Statement, tag: str, find: Find, settings: PlanSettings) -> None:
        self._statement = statement
        self._tag = tag
        self._find = find
        self._settings = settings
        self._known: dict[str, Site] = {}

    @property
    def all(self) -> tuple[Site, ...]:
        return tuple(sorted(self._known.values(), key=lambda one: int(one.udf.rpartition("_")[2])))

    def rewrite(self, tree: exp.Expr) -> None:
        """Put UDFs where the calls are, inner ones first."""
        found = [one for one in tree.walk(bfs=False) if isinstance(one, exp.Anonymous)]
        calls = [one for one in found if called(one) in FUNCTIONS]
        for node in found:
            error = absent(called(node))
            if error is not None:
                raise self._statement.wrong(node, error.message, error.error_class, error.sql_state)
        for node in calls:
            self._placed(node)
        keys = {id(node): node.sql("spark") for node in calls}
        order = {key: at for at, key in enumerate(dict.fromkeys(keys.values()), 1)}
        for select in list(tree.find_all(exp.Select)):
            name_outputs(select, {id(one) for one in calls})
        put = [self._replace(node, keys[id(node)], order) for node in reversed(calls)]
        # In the order of the text: a condition has in it what stands before, and that has its own condition by then.
        for site, udf in reversed(put):
            self._condition(site, udf)

    def _placed(self, node: exp.Expr) -> None:
        """Refuse places where no function can be called."""
        name, up = called(node), node.parent
        if isinstance(up, exp.Table | exp.From | exp.Lateral):
            raise self._wrong(node, f"{name} gives one value for a row, it is no table: write SELECT {name}(…)")
        if isinstance(up, exp.Window):
            raise self._wrong(node, f"{name} is no window function: leave OVER out")
        if node.find_ancestor(exp.Lambda) is not None:
            raise self._wrong(
                node, f"{name} cannot be called in a lambda: explode the array, call it, and collect_list"
            )
        create = node.find_ancestor(exp.Create)
        if create is not None and (create.kind != "TABLE" or node.find_ancestor(exp.Schema) is not None):
            raise self._wrong(
                node, f"{name} cannot be kept in a {str(create.kind).lower()}: CREATE TABLE … AS keeps its answers"
            )

    def _wrong(self, node: exp.Expr, message: str) -> Exception:
        return self._statement.wrong(node, message, "UNSUPPORTED_FEATURE", "0A000")

    def _replace(self, node: exp.Expr, key: str, order: dict[str, int]) -> tuple[Site, exp.Expr]:
        signature, build = FUNCTIONS[called(node)]
        asked = build(Call(self._statement, node, signature, self._find, self._settings))
        site = self._known.get(key)
        if site is None:
            site = self._known[key] = self._site(node, order[key], signature.name, asked)
        udf = exp.Anonymous(this=site.udf, expressions=[one.copy() for one in asked.arguments])
        node.replace(udf)
        return site, udf

    def _condition(self, site: Site, udf: exp.Expr) -> None:
        """Say for which rows the call is needed, as one more argument, when that is not every row."""
        needed = self._needed(udf)
        if site.constant and self._settings.engine == "sail" and not aggregated(udf):
            # Sail would call the function while it plans, also for EXPLAIN and for no rows.
            needed = both(needed, exp.GTE(this=exp.Rand(), expression=exp.Literal.number(0)))
        if needed is not None:
            udf.append("expressions", needed)

    def _site(self, node: exp.Expr, number: int, function: str, asked: Asked) -> Site:
        value = types.write(asked.value)
        wrapped = f"STRUCT<result: {value}, errorMessage: STRING>"
        return Site(
            udf=f"tesela_{self._tag}_{number}",
            function=function,
            endpoint=asked.facts.name,
            task=asked.facts.task,
            value=value,
            returns=value if asked.fail_on_error else wrapped,
            fail_on_error=asked.fail_on_error,
            arguments=("",) * len(asked.arguments),
            body=asked.body,
            constants=asked.constants,
            position=self._statement.at(node) or (1, 1),
            constant=not any(changes(one) for one in asked.arguments),
        )

    def _needed(self, node: exp.Expr) -> exp.Expr | None:
        """For which rows the call is needed; None: for all that reach it."""
        rules = _RULES if self._settings.engine == "spark" else _SHORT_CIRCUITS
        out: exp.Expr | None = None
        child, up = node, node.parent
        while up is not None and not isinstance(up, exp.Query | exp.Where | exp.Join | exp.Having):
            for kind, rule in rules:
                if isinstance(up, kind):
                    condition = rule(up, child)
                    if condition is not None and not chance(condition):
                        out = both(condition, out)
            child, up = up, up.parent
        return out


def called(node: exp.Expr) -> str:
    return str(node.name).lower() if isinstance(node, exp.Anonymous) else ""


def aggregated(node: exp.Expr) -> bool:
    """Whether the call is in a query that makes groups, where chance has no place."""
    select = node.find_ancestor(exp.Select)
    if select is None:
        return False
    return bool(select.args.get("group")) or any(one.find(exp.AggFunc) is not None for one in select.expressions)


def both(left: exp.Expr | None, right: exp.Expr | None) -> exp.Expr | None:
    if left is None or right is None:
        return left if right is None else right
    return exp.and_(left, right)


def true(condition: exp.Expr) -> exp.Expr:
    """The condition, with NULL for false."""
    return exp.Coalesce(this=condition.copy(), expressions=[exp.false()])


# ------------------------------------------------------------ which rows a place needs

Rule = Callable[[exp.Expr, exp.Expr], exp.Expr | None]


def _case(case: exp.Expr, child: exp.Expr) -> exp.Expr | None:
    """A branch is needed where its condition is the first that is true, a condition where no earlier one is."""
    out: exp.Expr | None = None
    if child is case.this:
        return None
    for branch in case.args["ifs"]:
        if branch is child:
            return out
        out = both(out, exp.not_(true(_condition(case, branch))))
    return out


def _condition(case: exp.Expr, branch: exp.Expr) -> exp.Expr:
    return exp.EQ(this=case.this.copy(), expression=branch.this.copy()) if case.this else branch.this


def _if(node: exp.Expr, child: exp.Expr) -> exp.Expr | None:
    condition = _condition(node.parent, node) if isinstance(node.parent, exp.Case) else node.this
    if child is node.args.get("true"):
        return true(condition)
    if child is node.args.get("false"):
        return exp.not_(true(condition))
    return None


def _coalesce(node: exp.Expr, child: exp.Expr) -> exp.Expr | None:
    out: exp.Expr | None = None
    for one in (node.this, *node.expressions):
        if one is child:
            break
        out = both(out, exp.Is(this=one.copy(), expression=exp.Null()))
    return out


def _and(node: exp.Expr, child: exp.Expr) -> exp.Expr | None:
    if child is node.this:
        return None
    return exp.Coalesce(this=node.this.copy(), expressions=[exp.true()])


def _or(node: exp.Expr, child: exp.Expr) -> exp.Expr | None:
    return None if child is node.this else exp.not_(true(node.this))


def _filter(node: exp.Expr, child: exp.Expr) -> exp.Expr | None:
    return true(node.expression.this) if child is node.this else None


_SHORT_CIRCUITS: tuple[tuple[type[exp.Expr], Rule], ...] = ((exp.Or, _or),)
_RULES: tuple[tuple[type[exp.Expr], Rule], ...] = (
    (exp.Case, _case), (exp.If, _if), (exp.Coalesce, _coalesce), (exp.And, _and), (exp.Or, _or), (exp.Filter, _filter),
)  # fmt: skip


# ------------------------------------------------------------ names of columns


def name_outputs(select: exp.Expr, calls: set[int]) -> None:
    """Give columns with calls the names that they would have, for a UDF's own name says nothing."""
    for one in list(select.expressions):
        if not isinstance(one, exp.Alias | exp.Aliases) and any(id(node) in calls for node in one.walk()):
            alias = exp.to_identifier(title(one), quoted=True)
            holder = exp.Alias(this=exp.Null(), alias=alias)
            one.replace(holder)
            holder.set("this", one)


def title(node: exp.Expr) -> str:
    """How an expression is called when nobody names it: as it is written, strings without quotes."""
    plain = node.copy()
    for one in list(plain.find_all(exp.Literal)):
        if one.is_string and one is not plain:
            one.replace(exp.Var(this=str(one.this)))
    return plain.sql("spark", normalize_functions="lower", comments=False)
