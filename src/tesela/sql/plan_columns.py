"""The columns of a derived table as they are seen from above, and the same expressions below."""

from collections.abc import Callable

from sqlglot import exp

from tesela.sql.dialect.constants import chance


class Outputs:
    """The columns that a derived table gives, as they are seen from above."""

    def __init__(self, inner: exp.Select, alias: str, calls: Callable[[exp.Expr], bool]) -> None:
        self._alias = alias
        self._calls = calls
        self._named = {}
        self._star: exp.Expr | None = None
        self._unclear = False
        for one in inner.expressions:
            if isinstance(one, exp.Star) or (isinstance(one, exp.Column) and isinstance(one.this, exp.Star)):
                self._unclear |= self._star is not None or any(
                    star.args.get("except_") for star in one.find_all(exp.Star)
                )
                self._star = one
            else:
                self._named[one.output_name.lower()] = one.this if isinstance(one, exp.Alias) else one

    def _of(self, column: exp.Column) -> exp.Expr | None:
        """What a column above is below; None when that cannot be said, or when a call makes it."""
        if self._unclear or column.args.get("db") or (column.table and column.table.lower() != self._alias):
            return None
        found = self._named.get(column.name.lower())
        if found is not None:
            return None if self._calls(found) else found
        if self._star is None:
            return None
        table = self._star.args.get("table") if isinstance(self._star, exp.Column) else None
        return exp.Column(this=column.this.copy(), table=table.copy() if table is not None else None)

    def computed(self, node: exp.Expr) -> exp.Expr | None:
        """The expression with the columns of below in it, for WHERE."""
        if self._calls(node) or node.find(exp.Query) is not None or chance_outside(node, frozenset()):
            return None
        return self._put(node, lambda column: self._of(column))

    def named(self, term: exp.Expr) -> exp.Expr | None:
        """A term of ORDER BY in the derived table, where its own columns' names come first."""

        def by_name(column: exp.Column) -> exp.Expr | None:
            if self._of(column) is None:
                return None
            if column.name.lower() in self._named:
                return exp.column(column.this.copy())
            return self._of(column)

        if self._calls(term):
            return None
        return self._put(term, by_name)

    def _put(self, node: exp.Expr, what: Callable[[exp.Column], exp.Expr | None]) -> exp.Expr | None:
        out = node.copy()
        for column in list(out.find_all(exp.Column)):
            found = what(column)
            if found is None:
                return None
            if column is out:
                return exp.paren(found.copy())
            column.replace(exp.paren(found.copy()) if not isinstance(found, exp.Column) else found.copy())
        return out


def renamed(source: exp.Expr) -> bool:
    """Whether an alias gives the columns other names, as in `AS d(a, b)`."""
    alias = source.args.get("alias")
    return alias is not None and bool(alias.args.get("columns"))


def named_for(node: exp.Expr, named: dict[str, exp.Expr]) -> exp.Expr:
    if isinstance(node, exp.Column) and not node.table and node.name.lower() in named:
        return exp.paren(named[node.name.lower()].copy())
    return node


def chance_outside(node: exp.Expr, udfs: frozenset[str]) -> bool:
    """Whether chance decides something here, other than in what we gave a UDF."""
    bare = node.copy()
    for one in list(bare.find_all(exp.Anonymous)):
        if one.name in udfs:
            if one is bare:
                return False
            one.replace(exp.null())
    return chance(bare)
