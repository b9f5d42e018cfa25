"""Functions that say where a statement is and whose it is, and a pivot as both engines read it."""

from sqlglot import exp

from tesela.sql.site import PlanSettings


def say_where(tree: exp.Expr, settings: PlanSettings, catalog: str, schema: str, user: str) -> None:
    """current_catalog() and its like become what they say, and a pivot's column what both engines read."""
    said = {
        exp.CurrentCatalog: ("current_catalog()", catalog),
        exp.CurrentSchema: ("current_schema()", schema),
        exp.CurrentDatabase: ("current_database()", schema),
        exp.CurrentUser: ("current_user()", user),
        exp.SessionUser: ("session_user()", user),
    }
    for node in list(tree.find_all(*said)):
        name, text = said[type(node)]
        if settings.remote and type(node) not in (exp.CurrentUser, exp.SessionUser):
            node.replace(exp.Anonymous(this=name.removesuffix("()")))
            continue
        literal: exp.Expr = exp.Literal.string(text)
        shown = isinstance(node.parent, exp.Select) and node.arg_key == "expressions"
        node.replace(exp.alias_(literal, name, quoted=True) if shown else literal)
    for pivot in tree.find_all(exp.Pivot):
        for one in pivot.args.get("fields") or []:
            if isinstance(one, exp.In) and isinstance(one.this, exp.Column):
                one.this.replace(exp.Paren(this=one.this.copy()))
