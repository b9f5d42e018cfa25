"""Writes the reference page of the command line from the commands' own help: `python -m tesela.cli.docs`.

A test compares the page in `docs/reference/cli.md` with what this prints.
"""

import sys
from collections.abc import Iterator

import click

from tesela.cli.commands import tesela

HEAD = """\
# The command line

This page is made from the commands' own help by `python -m tesela.cli.docs > docs/reference/cli.md`.

Exit codes: 0 done, 1 something failed, 2 the command or the configuration is wrong, 130 ended by Ctrl-C.
"""


def page() -> str:
    """The whole page, Markdown."""
    return HEAD + "".join(
        _sections(
            tesela, click.Context(tesela, info_name="tesela", **tesela.context_settings)
        )
    )


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


if __name__ == "__main__":
    sys.stdout.write(page())
