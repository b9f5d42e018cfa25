"""Sorts and limits go below calls: ORDER BY i LIMIT 5 calls five rows, not all.

`SELECT ai(s) FROM t WHERE w ORDER BY i LIMIT 5` becomes `SELECT ai(s) FROM (SELECT * FROM t WHERE w ORDER BY i LIMIT 5)
AS t ORDER BY i`, where the calls cannot change which rows are chosen.  Where they might, nothing is touched.
"""

from sqlglot import exp

from tesela.sql.plan_columns import Outputs, chance_outside, named_for, renamed

ROW_MAKERS: tuple[type[exp.Expr], ...] = (exp.Explode, exp.Posexplode, exp.Inline, exp.Unnest)
ROW_MAKER_NAMES = frozenset(
    {"STACK", "JSON_TUPLE", "EXPLODE_OUTER", "POSEXPLODE_OUTER", "INLINE_OUTER", "VARIANT_EXPLODE"}
)
NOT_ROW_BY_ROW = (
    "group", "having", "distinct", "qualify", "windows", "cluster", "distribute", "sort", "laterals", "pivots", "match",
    "sample", "connect",
)  # fmt: skip
"""Parts of a query with which a limit below is not a limit above."""
HIDDEN = "_metadata"
"""A column of files that `SELECT *` does not have."""


def lift(tree: exp.Expr, udfs: frozenset[str]) -> exp.Expr:
    """The tree with sorts and limits below the calls of these UDFs."""
    if not udfs:
        return tree
    lifting = _Lift(udfs)
    for select in list(tree.find_all(exp.Select)):
        lifting.inline(select)
    for select in list(tree.find_all(exp.Select)):
        lifting.push(select)
    for select in list(tree.find_all(exp.Select)):
        lifting.lift(select)
    return tree


class _Lift:
    def __init__(self, udfs: frozenset[str]) -> None:
        self._udfs = udfs
        self._made = 0

    def calls(self, node: exp.Expr | None) -> bool:
        return node is not None and any(
            isinstance(one, exp.Anonymous) and one.name in self._udfs for one in node.walk()
        )

    def simple(self, select: exp.Select) -> bool:
        """Whether each row of the result comes from one row below, whatever the others are: then limits may move."""
        if any(select.args.get(name) for name in NOT_ROW_BY_ROW) or not select.args.get("from_"):
            return False
        for one in select.expressions:
            if one.find(exp.Window, exp.AggFunc, *ROW_MAKERS) is not None or chance_outside(one, self._udfs):
                return False
            if any(str(call.name).upper() in ROW_MAKER_NAMES for call in one.find_all(exp.Anonymous)):
                return False
        return True

    # -------------------------------------------------------- CTEs

    def inline(self, select: exp.Select) -> None:
        """A CTE with calls that is read once, below a limit, is read where it stands."""
        limited = select.args.get("limit") is not None
        source = select.args["from_"].this if limited and select.args.get("from_") else None
        if not isinstance(source, exp.Table) or source.args.get("db") or select.args.get("joins"):
            return
        found = self._cte(select, source)
        if found is None or not self.calls(found.this) or renamed(found):
            return
        holder = found.parent
        body, alias = found.this.copy(), source.alias or source.name
        source.replace(exp.Subquery(this=body, alias=exp.TableAlias(this=exp.to_identifier(alias))))
        found.pop()
        if isinstance(holder, exp.With) and not holder.expressions:
            holder.pop()

    def _cte(self, select: exp.Select, source: exp.Table) -> exp.CTE | None:
        """The CTE that a table names, when it names one and is the only one to name it."""
        name = source.name.lower()
        up: exp.Expr | None = select
        while up is not None:
            clause = up.args.get("with_")
            recursive = clause is not None and clause.args.get("recursive")
            for one in clause.expressions if clause is not None and not recursive else ():
                if one.alias.lower() == name:
                    uses = [table for table in select.root().find_all(exp.Table) if table.name.lower() == name]
                    return one if len(uses) == 1 else None
            up = up.parent
        return None

    # -------------------------------------------------------- limits into derived tables

    def push(self, select: exp.Select) -> None:
        """A limit above a derived table with calls moves into it, so that it can be lifted there."""
        if select.args.get("limit") is None or select.args.get("joins") or not self.simple(select):
            return
        source = select.args["from_"].this
        inner = source.this if isinstance(source, exp.Subquery) else None
        if not isinstance(inner, exp.Select) or not self.simple(inner) or not self.calls(inner):
            return
        if any(inner.args.get(name) for name in ("limit", "offset", "order", "with_")):
            return
        if renamed(source):
            return
        outputs = Outputs(inner, source.alias.lower(), self.calls)
        where = select.args.get("where")
        order = self.order(select)
        if order is None:
            return
        terms = [outputs.named(term) for term in order]
        below = outputs.computed(where.this) if where is not None else exp.true()
        if below is None or any(one is None for one in terms):
            return
        if where is not None:
            inner.where(below, copy=False)
            select.set("where", None)
        if terms:
            inner.set("order", exp.Order(expressions=terms))
        inner.set("limit", select.args["limit"].copy())
        if select.args.get("offset") is not None:
            inner.set("offset", select.args["offset"].copy())
        select.set("limit", None)
        select.set("offset", None)
        self.push(inner)

    # -------------------------------------------------------- limits below calls

    def lift(self, select: exp.Select) -> None:
        if select.args.get("limit") is None or not self.simple(select):
            return
        if not any(self.calls(one) for one in select.expressions):
            return
        order = self.order(select)
        if order is None or any(self.calls(one) for one in order):
            return
        if any(one.args.get("db") or one.name.lower() == HIDDEN for one in select.find_all(exp.Column)):
            return
        if select.args.get("joins"):
            self._lift_join(select, order)
            return
        source = select.args["from_"].this
        name = source.alias or (source.name if isinstance(source, exp.Table) else "")
        inner = exp.Select(expressions=[exp.Star()])
        inner.set("from_", exp.From(this=source.copy()))
        self._below(select, inner, order)
        alias = exp.TableAlias(this=exp.to_identifier(name, quoted=True)) if name else None
        source.replace(exp.Subquery(this=inner, alias=alias or exp.TableAlias(this=exp.to_identifier("t"))))

    def _below(self, select: exp.Select, inner: exp.Select, order: list[exp.Expr]) -> None:
        """Move WHERE, and the sort with its limit, from one to the other."""
        for name in ("where", "limit", "offset"):
            if select.args.get(name) is not None:
                inner.set(name, select.args[name].copy())
                select.set(name, None)
        if order:
            inner.set("order", exp.Order(expressions=[one.copy() for one in order]))

    def _lift_join(self, select: exp.Select, order: list[exp.Expr]) -> None:
        """Over a join the columns that are needed above get names of their own."""
        if select.find(exp.Star) is not None or any(self.calls(one) for one in select.args["joins"]):
            return
        outer: list[exp.Expr] = []
        below: dict[str, exp.Expr] = {}

        def kept(node: exp.Expr) -> exp.Expr:
            key = node.sql("spark")
            if key not in below:
                below[key] = exp.alias_(node.copy(), f"_t{len(below)}", quoted=True)
            return exp.column(exp.to_identifier(below[key].alias, quoted=True))

        for one in select.expressions:
            name, body = one.output_name, one.this if isinstance(one, exp.Alias) else one
            if not name:
                return
            if self.calls(body):
                moved = body.copy().transform(lambda node: kept(node) if isinstance(node, exp.Column) else node)
            else:
                moved = kept(body)
            outer.append(exp.alias_(moved, name, quoted=True))
        sort = []
        for term in order:
            again = term.copy()
            again.this.replace(kept(term.this))
            sort.append(again)
        inner = exp.Select(expressions=list(below.values()))
        inner.set("from_", select.args["from_"].copy())
        inner.set("joins", [one.copy() for one in select.args["joins"]])
        self._below(select, inner, order)
        self._made += 1
        alias = exp.TableAlias(this=exp.to_identifier(f"_lifted{self._made}"))
        select.set("expressions", outer)
        select.set("joins", None)
        select.set("from_", exp.From(this=exp.Subquery(this=inner, alias=alias)))
        if sort:
            select.set("order", exp.Order(expressions=sort))

    def order(self, select: exp.Select) -> list[exp.Expr] | None:
        """The terms of ORDER BY, with what they name in the list of columns put in; None when that is not clear."""
        clause = select.args.get("order")
        out: list[exp.Expr] = []
        named = {one.alias.lower(): one.this for one in select.expressions if isinstance(one, exp.Alias)}
        for term in clause.expressions if clause is not None else ():
            moved = term.copy()
            by = moved.this
            if isinstance(by, exp.Literal):
                place = int(by.this) if not by.is_string and str(by.this).isdecimal() else 0
                if not 1 <= place <= len(select.expressions) or select.find(exp.Star) is not None:
                    return None
                chosen = select.expressions[place - 1]
                by.replace((chosen.this if isinstance(chosen, exp.Alias) else chosen).copy())
            elif isinstance(by, exp.Column) and by.name.lower() == "all" and not by.table:
                return None
            else:
                moved = moved.transform(lambda node: named_for(node, named))
            if moved.find(exp.Query) is not None or chance_outside(moved, self._udfs):
                return None
            out.append(moved)
        return out
