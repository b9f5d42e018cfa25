"""What a statement may be, and which tables it names: those of the warehouse folder become Delta tables by path.

A list of what is allowed, not of what is not: a construct that nobody thought of is an error that names it.
"""

import re
from pathlib import Path

from sqlglot import exp

from tesela.errors import StatementError
from tesela.sql.dialect.files import FORMATS, checked
from tesela.sql.dialect.paths import GLOB, in_store
from tesela.sql.dialect.reading import Statement
from tesela.sql.site import Local, PlanSettings, Source

TABLE_FUNCTIONS = frozenset({"range", "explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "stack",
                             "inline_outer", "json_tuple", "read_files"})  # fmt: skip
REFUSED = {
    "reflect": "it runs code of the engine", "java_method": "it runs code of the engine",
    "try_reflect": "it runs code of the engine", "secret": "secrets are not read by statements",
    "try_secret": "secrets are not read by statements", "list_secrets": "secrets are not read by statements",
    "input_file_block_start": "it is not there", "input_file_block_length": "it is not there",
}  # fmt: skip
CONSTRUCTS: dict[type[exp.Expr], str] = {
    exp.QueryTransform: "TRANSFORM … USING runs programs",
    exp.Directory: "INSERT OVERWRITE DIRECTORY writes files",
    exp.Parameter: "names in ${…} or after @ are not read",
    exp.SessionParameter: "session variables are not read",
    exp.Command: "it is not understood",
}
_NAME = re.compile(r"^[\w][\w -]{0,254}$")
VIEWS = ("VIEW",)


class Tables:
    """The tables of one statement, and what must be done around it."""

    def __init__(self, statement: Statement, settings: PlanSettings, catalog: str, schema: str, tag: str) -> None:
        self._statement = statement
        self._settings = settings
        self._catalog = catalog
        self._schema = schema
        self._attached = f"tesela_{tag}_table"
        self.before: tuple[str, ...] = ()
        self.after: tuple[str, ...] = ()
        self.folders: tuple[str, ...] = ()
        self.save = ""
        self.looks: tuple[Source, ...] = ()
        self.local: Local | None = None

    def wrong(
        self, node: exp.Expr | None, message: str, error_class: str = "UNSUPPORTED_FEATURE", state: str = "0A000"
    ) -> StatementError:
        return self._statement.wrong(node, message, error_class, state)

    # -------------------------------------------------------- what it may be

    def admit(self, tree: exp.Expr) -> None:
        """Raises StatementError for a kind of statement, or a part of one, that is not run here."""
        if not isinstance(
            tree,
            exp.Query
            | exp.Values
            | exp.Create
            | exp.Insert
            | exp.Merge
            | exp.Update
            | exp.Delete
            | exp.Drop
            | exp.Describe,
        ):
            raise self.wrong(
                tree,
                f"{self._statement.first} statements are not run here: queries, CREATE TABLE, INSERT, "
                "MERGE, UPDATE, DELETE, DROP and DESCRIBE are",
            )
        for kind, why in CONSTRUCTS.items():
            found = tree.find(kind)
            if found is not None:
                raise self.wrong(found, f"{why}: this is not run here")
        for call in tree.find_all(exp.Anonymous):
            name = str(call.name).lower()
            if name in REFUSED:
                raise self.wrong(call, f"{name} is not available: {REFUSED[name]}", "UNRESOLVED_ROUTINE", "42883")
        if isinstance(tree, exp.Create):
            self._admit_create(tree)

    def _admit_create(self, tree: exp.Create) -> None:
        kind = str(tree.kind).upper()
        properties = tree.args["properties"].expressions if tree.args.get("properties") else []
        temporary = any(isinstance(one, exp.TemporaryProperty) for one in properties)
        if kind == "VIEW" and not temporary:
            raise self.wrong(tree, "views are not kept here: write CREATE TEMPORARY VIEW, or CREATE TABLE … AS")
        if kind not in ("TABLE", "VIEW"):
            raise self.wrong(tree, f"CREATE {kind} is not run here: CREATE TABLE and CREATE TEMPORARY VIEW are")
        for one in properties:
            delta = isinstance(one, exp.FileFormatProperty) and one.name.lower() == "delta"
            if not delta and not isinstance(
                one, exp.TemporaryProperty | exp.PartitionedByProperty | exp.SchemaCommentProperty
            ):
                raise self.wrong(
                    one if one.find(exp.Identifier) else tree,
                    f"{one.sql('spark')[:60]} cannot be said here: tables are Delta tables in the warehouse folder",
                )
        if tree.args.get("clone") or isinstance(tree.args.get("this"), exp.UserDefinedFunction):
            raise self.wrong(tree, "CLONE is not run here: write CREATE TABLE … AS SELECT")

    # -------------------------------------------------------- which tables it names

    def resolve(self, tree: exp.Expr) -> None:
        target = self._target(tree)
        hidden = {one.alias.lower() for one in tree.find_all(exp.CTE)}
        for table in list(tree.find_all(exp.Table)):
            if isinstance(table.this, exp.Anonymous | exp.Func):
                self._function(table)
            elif table is not target and not (table.name.lower() in hidden and not table.args.get("db")):
                self._read(table, wanted=True)
        if target is not None:
            self._write(tree, target)

    def _target(self, tree: exp.Expr) -> exp.Table | None:
        if (isinstance(tree, exp.Create) and tree.kind == "TABLE") or isinstance(tree, exp.Insert):
            found = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        else:
            return None
        if not isinstance(found, exp.Table) or not isinstance(found.this, exp.Identifier):
            raise self.wrong(tree, "the table to write is not named plainly: write its name")
        return found

    def _function(self, table: exp.Table) -> None:
        name = str(
            table.this.name or table.this.sql_name() if isinstance(table.this, exp.Anonymous) else table.this.sql_name()
        ).lower()
        if name not in TABLE_FUNCTIONS:
            raise self.wrong(table, f"{name} is no table function that is run here", "UNRESOLVED_ROUTINE", "42883")

    def _read(self, table: exp.Table, *, wanted: bool) -> None:
        db, name = str(table.args["db"].name) if table.args.get("db") else "", table.name
        kind = FORMATS.get(db.lower())
        if kind is not None or "/" in name or ":" in name or "\\" in name:
            if kind is None or table.args.get("catalog"):
                raise self.wrong(
                    table,
                    f"{db or name!r} is no format of files: write delta.`{name}`, parquet.`…` or csv.`…`",
                )
            path = checked(self._statement, table, name, self._settings)
            if self._settings.engine == "sail":
                self.looks += (Source("", kind, (path,), sail=True),)
            table.set("this", exp.to_identifier(path, quoted=True))
            table.set("db", exp.to_identifier(kind))
            return
        if self._settings.remote:
            return
        folder = self._folder(table)
        if (folder / "_delta_log").is_dir():
            self._by_path(table, folder)
        elif db:
            raise self.wrong(table, f"the table {self._full(table)} does not exist", "TABLE_OR_VIEW_NOT_FOUND", "42P01")

    def _by_path(self, table: exp.Table, folder: Path) -> None:
        path = checked(self._statement, table, str(folder), self._settings)
        name = table.name
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
        table.set("this", exp.to_identifier(path, quoted=True))
        table.set("db", exp.to_identifier("delta"))
        table.set("catalog", None)
        for column in table.root().find_all(exp.Column):
            if column.args.get("db") and column.table.lower() == name.lower():
                column.set("db", None)
                column.set("catalog", None)

    def _full(self, table: exp.Table) -> str:
        return ".".join(str(one) for one in self._parts(table))

    def _parts(self, table: exp.Table) -> tuple[str, str, str]:
        db, catalog = table.args.get("db"), table.args.get("catalog")
        parts = (str(catalog.name) if catalog else self._catalog, str(db.name) if db else self._schema, table.name)
        for part in parts:
            if not _NAME.match(part):
                raise self.wrong(
                    table,
                    f"{part!r} is no name of a table, schema or catalog: use letters, digits and _",
                    "INVALID_IDENTIFIER",
                    "42602",
                )
        return parts[0].lower(), parts[1].lower(), parts[2].lower()

    def _folder(self, table: exp.Table) -> Path:
        return Path(self._settings.warehouse).joinpath(*self._parts(table))

    def _write(self, tree: exp.Expr, target: exp.Table) -> None:
        db = str(target.args["db"].name).lower() if target.args.get("db") else ""
        by_path = db in FORMATS or "/" in target.name
        if self._settings.remote and not by_path:
            return
        if by_path:
            self._write_by_path(tree, target, db)
            return
        folder = self._folder(target)
        there = (folder / "_delta_log").is_dir()
        path = str(folder.parent.resolve() / folder.name)
        if isinstance(tree, exp.Create):
            self._create(tree, target, path, there)
        elif not there:
            raise self.wrong(
                target, f"the table {self._full(target)} does not exist", "TABLE_OR_VIEW_NOT_FOUND", "42P01"
            )
        else:
            self._attach(path)
        self._written_as(target)

    def _write_by_path(self, tree: exp.Expr, target: exp.Table, db: str) -> None:
        """A Delta table in an object store has no name here: its path is its name."""
        if db != "delta" or not in_store(target.name) or GLOB.search(target.name):
            raise self.wrong(
                target,
                "files are not written by path: name a table, it is kept in the warehouse folder; only Delta tables in "
                "an object store are written so, as delta.`s3://…`",
            )
        path = checked(self._statement, target, target.name, self._settings)
        if self._settings.remote:
            target.set("this", exp.to_identifier(path, quoted=True))
            return
        if isinstance(tree, exp.Create):
            replaces = bool(tree.args.get("replace"))
            if replaces and (isinstance(tree.this, exp.Schema) or not isinstance(tree.expression, exp.Query)):
                raise self.wrong(target, "CREATE OR REPLACE of a path takes the new rows with it: write AS SELECT …")
            self._create(tree, target, path, replaces)
            # What a failed statement leaves there is not in the table's log.
            self.folders = ()
        else:
            self._attach(path)
        self._written_as(target)

    def _attach(self, path: str) -> None:
        self.before = (f"CREATE TABLE {self._attached} USING delta LOCATION {exp.Literal.string(path).sql('spark')}",)

    def _written_as(self, target: exp.Table) -> None:
        self.after = (f"DROP TABLE IF EXISTS {self._attached}",)
        target.replace(exp.Table(this=exp.to_identifier(self._attached)))

    def _create(self, tree: exp.Create, target: exp.Table, path: str, there: bool) -> None:
        if there and tree.args.get("exists"):
            self.local = Local("nothing")
            return
        if there and tree.args.get("replace"):
            if not isinstance(tree.expression, exp.Query) or isinstance(tree.this, exp.Schema):
                raise self.wrong(
                    target, f"the table {self._full(target)} exists: DROP TABLE it first, or write AS SELECT …"
                )
            self.save = path
            return
        if there:
            raise self.wrong(
                target,
                f"the table {self._full(target)} exists: DROP TABLE it first, or write IF NOT EXISTS",
                "TABLE_OR_VIEW_ALREADY_EXISTS",
                "42P07",
            )
        tree.set("replace", None)
        kept = [
            one
            for one in (tree.args["properties"].expressions if tree.args.get("properties") else [])
            if not isinstance(one, exp.FileFormatProperty)
        ]
        kept += [
            exp.FileFormatProperty(this=exp.Var(this="delta")),
            exp.LocationProperty(this=exp.Literal.string(path)),
        ]
        tree.set("properties", exp.Properties(expressions=kept))
        self.folders = (path,)

    # -------------------------------------------------------- DROP and DESCRIBE

    def special(self, tree: exp.Expr) -> exp.Expr:
        """DROP TABLE is ours, where tables are folders; DESCRIBE becomes what both engines read."""
        if isinstance(tree, exp.Drop) and not self._settings.remote:
            self._drop(tree)
        if isinstance(tree, exp.Describe):
            style = str(tree.args.get("style") or "").upper()
            if not isinstance(tree.this, exp.Table) or style not in ("", "EXTENDED", "FORMATTED", "TABLE"):
                raise self.wrong(tree, "only DESCRIBE of a table is run here: write DESCRIBE name")
            return exp.select("*").from_(tree.this.copy()).limit(0)
        return tree

    def _drop(self, tree: exp.Drop) -> None:
        named = tree.args.get("tables") or [tree.this]
        kind, table = str(tree.kind).upper(), named[0]
        if kind not in ("TABLE", "VIEW") or len(named) != 1 or not isinstance(table, exp.Table):
            raise self.wrong(tree, f"DROP {kind} is not run here: DROP TABLE and DROP VIEW of one name are")
        if kind == "VIEW" and not table.args.get("db"):
            return
        folder = self._folder(table)
        if not (folder / "_delta_log").is_dir() and not tree.args.get("exists"):
            told = f"the table {self._full(table)} does not exist"
            raise self.wrong(table, told, "TABLE_OR_VIEW_NOT_FOUND", "42P01")
        self.local = Local("drop_table", {"folder": str(folder)})
