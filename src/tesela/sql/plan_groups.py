"""GROUP BY with calls: a group's call is named by its place among the columns, which all engines take."""

from sqlglot import exp


def grouped(tree: exp.Expr, udfs: frozenset[str]) -> exp.Expr:
    """Sail does not find the column of a UDF that GROUP BY repeats; a place means the same."""
    for select in tree.find_all(exp.Select):
        group = select.args.get("group")
        if group is None:
            continue
        columns = [one.this if isinstance(one, exp.Alias) else one for one in select.expressions]
        for term in list(group.expressions):
            if any(isinstance(one, exp.Anonymous) and one.name in udfs for one in term.walk()):
                place = next((at for at, one in enumerate(columns, 1) if one == term), None)
                if place is not None:
                    term.replace(exp.Literal.number(place))
    return tree
