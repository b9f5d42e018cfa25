"""The table of commands.  A command's module is imported when the command runs, or shows its own help."""

from importlib import import_module

import click

from tesela import __version__


class LazyGroup(click.Group):
    """A group whose commands are `name: (module, one line of help)`; the attribute in the module is `command`."""

    def __init__(self, *, table: dict[str, tuple[str, str]], **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        command: click.Command = import_module(self.table[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])


TABLE = {
    "serve": (
        "tesela.cli.serve",
        "Serve the models of this machine and those of a configuration file.",
    ),
    "query": (
        "tesela.cli.query",
        "Send a prompt to an endpoint and print the answer as it comes.",
    ),
    "sql": (
        "tesela.cli.sql",
        "Run SQL with ai_query on the server, and print or save the rows.",
    ),
    "answers": (
        "tesela.cli.answers",
        "Look at the model answers that SQL has kept, and forget them.",
    ),
    "endpoints": (
        "tesela.cli.endpoints",
        "Show, make, change and delete the endpoints of a server.",
    ),
    "principals": (
        "tesela.cli.principals",
        "Show, make and delete users, groups and service principals.",
    ),
    "secrets": (
        "tesela.cli.secrets",
        "Keep keys of providers in the server's store, and say who may use them.",
    ),
    "audit": (
        "tesela.cli.audit",
        "List who changed what on a server, and what was refused.",
    ),
    "tokens": (
        "tesela.cli.tokens",
        "Make, list and revoke access tokens of this machine's server.",
    ),
    "models": ("tesela.cli.models", "Fetch, list, check and remove local models."),
    "db": (
        "tesela.cli.db",
        "Look at the store's database, bring its tables up to date, change its master key.",
    ),
    "verify": (
        "tesela.cli.verify",
        "Check that a server answers the official clients.",
    ),
}

tesela = LazyGroup(
    name="tesela",
    table=TABLE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Self-hosted model serving that speaks to the clients of Databricks Model Serving.

\b
Examples:
  tesela serve
  tesela query databricks-meta-llama-3-3-70b-instruct "Why is the sky blue?"
  tesela endpoints list
  tesela verify http://127.0.0.1:8787
""",
)
click.version_option(__version__, prog_name="tesela")(tesela)
