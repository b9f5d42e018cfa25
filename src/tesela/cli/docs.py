"""Writes the reference page of the command line from the commands' own help: `python -m tesela.cli.docs`.

Run at the top of a clone.  With `--check` nothing is written, and the exit code is 1 when the page is stale.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tesela.cli.commands import tesela

PAGE = Path("docs/reference/cli.md")

HEAD = """\
# The command line

This page is made from the commands' own help by `make docs`.

Exit codes: 0 done, 1 something failed, 2 the command or the configuration is wrong, 130 ended by Ctrl-C.
"""


def page() -> str:
    """The whole page, Markdown."""
    return HEAD + "".join(_sections(tesela, click.Context(tesela, info_name="tesela", **tesela.context_settings)))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    level = "#" * (2 + (context.command_path.count(" ") > 1))
    yield f"\n{level} {context.command_path}\n\n```text\n{_help(command, context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                settings = command.context_settings
                yield from _sections(
                    inner,
                    click.Context(inner, parent=context, info_name=name, **settings),
                )


def _help(command: click.Command, context: click.Context) -> str:
    # Fixed, so that the page is the same whatever terminal it was made in.
    context.terminal_width = context.max_content_width = 100
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    click.echo(f"{PAGE} is not what the commands' help says: make docs", err=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
