"""`tesela query`: one prompt, one endpoint, the answer as it comes."""

import base64
import json
import mimetypes
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from tesela.cli import connection, screen
from tesela.client import remote
from tesela.client.remote import Remote
from tesela.errors import Unsupported, UpstreamProtocolError, UpstreamRejected
from tesela.wire import sse
from tesela.wire.tasks import Task

PREVIEW = 4
"""How many components of a vector a terminal is shown."""


@click.command("query")
@click.argument("endpoint")
@click.argument("prompt", required=False)
@click.option("--system", help="System message.")
@click.option("--temperature", type=float, help="Sampling temperature.")
@click.option("--max-tokens", type=int, help="Longest answer, in the model's own tokens.")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Image to send along. May be given several times.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the whole answer as JSON; no streaming.",
)
@connection.options
def command(
    endpoint: str,
    prompt: str | None,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    images: tuple[Path, ...],
    as_json: bool,
    host: str | None,
    token: str | None,
) -> None:
    """Send PROMPT to ENDPOINT and print the answer as it comes.

    With "-" or nothing for PROMPT the prompt is read from standard input; with both, the input follows the prompt.
    An embeddings endpoint prints the vector: a preview on a terminal, all of it as JSON when piped.

    \b
    Examples:
      tesela query databricks-meta-llama-3-3-70b-instruct "Why is the sky blue?"
      tesela query databricks-meta-llama-3-3-70b-instruct "Summarise this:" < notes.txt
      tesela query databricks-gte-large-en "a sentence" --json
    """
    text = _prompt(prompt)
    server = remote.connect(host, token)
    task = server.get(remote.endpoint_path(endpoint)).get("task")
    parameters = {"temperature": temperature, "max_tokens": max_tokens}
    given = {name: value for name, value in parameters.items() if value is not None}
    path = remote.invocations_path(endpoint)
    if task == Task.EMBEDDINGS:
        _refuse(
            endpoint,
            task,
            given | ({"system": system} if system else {}) | ({"image": images} if images else {}),
        )
        _embed(server, path, text, as_json)
        return
    if task == Task.COMPLETIONS:
        _refuse(
            endpoint,
            task,
            ({"system": system} if system else {}) | ({"image": images} if images else {}),
        )
        body: dict[str, Any] = {"prompt": text, **given}
    else:
        body = {"messages": _messages(system, text, images), **given}
    if as_json:
        screen.show_json(server.post(path, body))
    else:
        _stream(server, path, body)


def _prompt(prompt: str | None) -> str:
    parts = [] if prompt in (None, "-") else [str(prompt)]
    if prompt == "-" or not sys.stdin.isatty():
        try:
            parts.append(sys.stdin.buffer.read().decode("utf-8").strip())
        except UnicodeDecodeError as exc:
            raise click.UsageError(f"standard input is not UTF-8 text (byte {exc.start})") from exc
    text = "\n\n".join(part for part in parts if part)
    if not text:
        raise click.UsageError('there is no prompt: tesela query ENDPOINT "your prompt", or text on standard input')
    return text


def _refuse(endpoint: str, task: str, flags: Iterable[str]) -> None:
    names = ", ".join("--" + name.replace("_", "-") for name in flags)
    if names:
        raise Unsupported(f"{endpoint!r} is an endpoint for {task}, which has no place for {names}")


def _messages(system: str | None, text: str, images: Iterable[Path]) -> list[dict[str, Any]]:
    pictures = [{"type": "image_url", "image_url": {"url": _data_url(path)}} for path in images]
    content: Any = [{"type": "text", "text": text}, *pictures] if pictures else text
    return [
        *([{"role": "system", "content": system}] if system else []),
        {"role": "user", "content": content},
    ]


def _data_url(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0]
    if kind is None or not kind.startswith("image/"):
        raise click.UsageError(f"{path}: its name does not end like that of an image")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _embed(server: Remote, path: str, text: str, as_json: bool) -> None:
    answer = server.post(path, {"input": text})
    if as_json:
        screen.show_json(answer)
        return
    try:
        vector = answer["data"][0]["embedding"]
        shown = ", ".join(f"{component:.4f}" for component in vector[:PREVIEW])
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        raise UpstreamProtocolError("the answer holds no vector of numbers; --json shows it") from exc
    if screen.is_terminal():
        click.echo(f"[{shown}, …] {len(vector)} dimensions; --json or a pipe gives all of them")
    else:
        click.echo(json.dumps(vector))


def _stream(server: Remote, path: str, body: dict[str, Any]) -> None:
    written = ""
    try:
        with server.stream(path, {**body, "stream": True}) as pieces:
            for text in texts(pieces):
                written = text
                sys.stdout.write(text)
                sys.stdout.flush()
    finally:
        if written and not written.endswith("\n"):
            click.echo()


def texts(pieces: Iterable[bytes]) -> Iterator[str]:
    """The text of each chunk of a stream, chat or completions.

    Raises UpstreamRejected with the server's words when it says that it failed, and UpstreamProtocolError when the
    stream just stops.
    """
    parser = sse.EventParser()
    for piece in pieces:
        for event in parser.feed(piece):
            if event.data == sse.DONE:
                return
            yield from _texts_of(event.data)
    raise UpstreamProtocolError("the answer stopped before its end")


def _texts_of(data: bytes) -> Iterator[str]:
    try:
        chunk = json.loads(data)
    except ValueError as exc:
        raise UpstreamProtocolError("the server sent a chunk that is not JSON") from exc
    if "error" in chunk:
        raise UpstreamRejected(f"the answer broke off: {remote.message_of(data, 'no reason given')}")
    for choice in chunk.get("choices", ()):
        content = choice.get("text") or choice.get("delta", {}).get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            # Reasoning models answer in parts; what a person asked for is the text among them.
            yield from (part["text"] for part in content if part.get("type") == "text")
