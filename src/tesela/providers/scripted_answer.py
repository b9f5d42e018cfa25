"""What a scripted model says, before it takes the form of an answer or a stream.

An answer is a list of pieces, one token each.  Both forms are made from the same pieces and usage is their number, so
they cannot disagree.
"""

from typing import Any, Literal

import msgspec

from tesela.providers.scripted_rules import Call, Facts, Reply, Rule
from tesela.providers.scripted_schema import obey
from tesela.providers.scripted_text import fill, filled, name, polite, tokens
from tesela.wire.document import encode
from tesela.wire.forms import Chat, Tool

Kind = Literal["reasoning_content", "content", "refusal", "name", "arguments"]


class Piece(msgspec.Struct, frozen=True):
    """One token.  `call` is the index of the tool call that a name or arguments belong to."""

    kind: Kind
    text: str
    call: int = 0


class Spoken(msgspec.Struct, frozen=True):
    """One choice.  `calls` are the ids of its tool calls; without `texts` it has no text, not even an empty one."""

    pieces: list[Piece]
    finish: str
    calls: list[str]
    texts: bool

    def text(self, kind: Kind, call: int = 0) -> str:
        return "".join(piece.text for piece in self.pieces if piece.kind == kind and piece.call == call)

    def tokens(self, kind: Kind) -> list[str]:
        return [piece.text for piece in self.pieces if piece.kind == kind]


def chat(reply: Reply, asked: Chat, facts: Facts, seed: bytes, *, parallel: bool) -> list[Spoken]:
    """The choices of a chat answer.  `seed` is what the ids of tool calls are made from."""
    calls = _calls(reply, asked, facts)[: None if parallel else 1]
    made = [(_tool_name(call, asked), _arguments(call, asked, facts)) for call in calls]
    found = []
    for index in range(asked.n):
        pieces = _pieces("reasoning_content", fill(reply.reasoning, facts) if reply.reasoning is not None else "")
        stopped = False
        text = None if reply.refusal is not None else _text(reply, asked, facts, index, calls=bool(calls))
        if reply.refusal is not None:
            pieces += _pieces("refusal", fill(reply.refusal, facts))
        elif text is not None:
            text, stopped = until(text, asked.stop)
            pieces += _pieces("content", text)
        ids = []
        if not stopped and reply.refusal is None:
            for place, (tool, arguments) in enumerate(made):
                given = calls[place].id
                ids.append(given or f"call_{name(seed + encode([index, place]))}")
                pieces.append(Piece("name", tool, place))
                pieces += _pieces("arguments", arguments, place)
        finish = "tool_calls" if ids else "stop"
        if asked.max_tokens is not None and len(pieces) > asked.max_tokens:
            pieces, finish = pieces[: asked.max_tokens], "length"
            ids = ids[: sum(piece.kind == "name" for piece in pieces)]
        found.append(Spoken(pieces, reply.finish_reason or finish, ids, text is not None))
    return found


def completion(reply: Reply, facts: Facts, index: int, stop: list[str], most: int | None, echoed: str) -> Spoken:
    """One choice of a completion; the prompt stands before it when it is to be echoed."""
    given = _given(reply, facts, index)
    pieces = _pieces("content", until(polite(facts) if given is None else given, stop)[0])
    finish = "stop"
    if most is not None and len(pieces) > most:
        pieces, finish = pieces[:most], "length"
    return Spoken(_pieces("content", echoed) + pieces, reply.finish_reason or finish, [], texts=True)


def until(text: str, stop: list[str]) -> tuple[str, bool]:
    """The text before the first of the stop strings, and whether there was one."""
    places = [place for place in map(text.find, stop) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _pieces(kind: Kind, text: str, call: int = 0) -> list[Piece]:
    return [Piece(kind, token, call) for token in tokens(text)]


def _given(reply: Reply, facts: Facts, index: int) -> str | None:
    """The text that the script itself gives; several are for one choice each, over and over."""
    if reply.json is not msgspec.UNSET:
        return encode(filled(reply.json, facts)).decode()
    if reply.reply is None:
        return None
    text = reply.reply if isinstance(reply.reply, str) else reply.reply[index % len(reply.reply)]
    return fill(text, facts)


def _text(reply: Reply, asked: Chat, facts: Facts, index: int, *, calls: bool) -> str | None:
    given = _given(reply, facts, index)
    if given is not None or calls:
        return given
    if asked.format is not None and asked.format.json_schema is not None:
        return encode(obey(asked.format.json_schema.schema)).decode()
    usual = f"The tool says: {facts.tool_result}" if facts.last_role == "tool" else polite(facts)
    return usual if asked.format is None else encode({"answer": usual}).decode()


def _calls(reply: Reply, asked: Chat, facts: Facts) -> list[Call]:
    """The calls to make.  `asked.tools` are those that `tool_choice` leaves."""
    if not asked.tools:
        return []
    allowed = {tool.function.name for tool in asked.tools if tool.function}
    if asked.choice == "required":
        return [call for call in reply.tool_calls if call.name is None or call.name in allowed] or [Call()]
    # A model by name calls once and then speaks of the result; rules have settled this where they were chosen.
    again = facts.last_role == "tool" and not isinstance(reply, Rule)
    return [] if again else list(reply.tool_calls)


def _tool(call: Call, asked: Chat) -> Tool | None:
    if call.name is None:
        return asked.tools[0]
    return next((tool for tool in asked.tools if tool.function and tool.function.name == call.name), None)


def _tool_name(call: Call, asked: Chat) -> str:
    tool = _tool(call, asked)
    return call.name or (tool.function.name if tool and tool.function else "")


def _arguments(call: Call, asked: Chat, facts: Facts) -> str:
    if isinstance(call.arguments, str):
        return fill(call.arguments, facts)
    if call.arguments is not None:
        return encode(filled(call.arguments, facts)).decode()
    tool = _tool(call, asked)
    schema: Any = tool.function.parameters if tool and tool.function else None
    return encode(obey(schema) if schema else {}).decode()
