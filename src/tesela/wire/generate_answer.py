"""A whole chat answer as a GenerateContentResponse, and the pieces of one that the events share.

https://ai.google.dev/api/generate-content#generatecontentresponse
"""

from typing import Any

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.wire.document import encode
from tesela.wire.messages_answer import arguments

Part = dict[str, Any]


class Asked(msgspec.Struct, frozen=True):
    """What an answer must know of its request: the endpoint's name, where the model does not say its own, and whether
    the caller wants to see thoughts."""

    model: str
    thoughts: bool = False


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    """Whole in an answer, a piece in a chunk.  `index` tells which call a piece belongs to."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: Any = None


class Said(msgspec.Struct):
    """A message, or the delta of one."""

    content: str | list[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    extra_content: Any = None


class Token(msgspec.Struct):
    token: str | None = None
    logprob: float | None = None
    top_logprobs: "list[Token] | None" = None


class Logprobs(msgspec.Struct):
    content: list[Token] | None = None


class Choice(msgspec.Struct):
    index: int = 0
    message: Said | None = None
    delta: Said | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class Details(msgspec.Struct):
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None


class Counts(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class Chat(msgspec.Struct):
    """What is read of a chat answer or chunk."""

    model: str | None = None
    choices: list[Choice] | None = None
    usage: Counts | None = None
    error: Any = None


_decode = msgspec.json.Decoder(Chat, strict=False).decode


def decode(body: bytes) -> Chat:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamProtocolError(f"the model's answer is not a chat completion: {exc}") from exc


def answer(body: bytes, asked: Asked, id: str) -> bytes:
    """The response for a chat completion; `id` is unique to the invocation (letters and digits).

    Raises UpstreamProtocolError when the body is not a chat completion, or a call has arguments that are no object.
    """
    chat = decode(body)
    if not chat.choices or any(choice.message is None for choice in chat.choices):
        raise UpstreamProtocolError("the model's answer has no choices")
    candidates = []
    for choice in chat.choices:
        said = choice.message or Said()
        parts = pieces(said, asked)
        cut = choice.finish_reason == "length"
        parts += [call_part(call, id, number, cut=cut) for number, call in enumerate(said.tool_calls or ())]
        candidates.append(candidate(choice.index, signed(merged(parts), said.extra_content), choice))
    return encode(response(id, chat.model or asked.model, candidates, chat.usage))


def response(id: str, model: str, candidates: list[Part], counts: Counts | None) -> Part:
    out: Part = {"candidates": candidates, "modelVersion": model, "responseId": id}
    return out if counts is None else {**out, "usageMetadata": usage(counts)}


def candidate(index: int, parts: list[Part], choice: Choice, logprobs: list[Token] | None = None) -> Part:
    """One candidate.  `choice` has the end, where it has come."""
    out: Part = {"content": {"role": "model", "parts": parts}, "index": index}
    said = choice.message or choice.delta
    if choice.finish_reason or choice.message is not None:
        refused = said is not None and said.refusal
        out["finishReason"] = "SAFETY" if refused else FINISH.get(choice.finish_reason or "stop", "OTHER")
    found = logprobs if logprobs is not None else (choice.logprobs.content if choice.logprobs else None)
    if found:
        out |= _logprobs(found)
    return out


FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "content_filter": "SAFETY",
}
"""https://ai.google.dev/api/generate-content#FinishReason"""


def pieces(said: Said, asked: Asked) -> list[Part]:
    """What a message or a delta says, as parts: thoughts for those who want them, text, images, refusal."""
    out: list[Part] = []
    thought = said.reasoning_content or said.reasoning
    if thought and asked.thoughts:
        out.append({"text": thought, "thought": True})
    if isinstance(said.content, str):
        out += [{"text": said.content}] if said.content else []
    else:
        for part in said.content or ():
            out += _part(part, asked)
    if said.refusal:
        out.append({"text": said.refusal})
    return out


def _part(part: Part, asked: Asked) -> list[Part]:
    kind = part.get("type")
    if kind == "text":
        return [{"text": str(part["text"])}] if part.get("text") else []
    if kind == "image_url":
        image = part.get("image_url")
        url = str(image.get("url") or "") if isinstance(image, dict) else ""
        head, _, data = url.partition(";base64,")
        if head.startswith("data:") and data:
            return [{"inlineData": {"mimeType": head.removeprefix("data:"), "data": data}}]
        return [{"fileData": {"fileUri": url}}] if url else []
    summary = part.get("summary") if kind == "reasoning" and asked.thoughts else None
    out = []
    for item in summary if isinstance(summary, list) else ():
        if isinstance(item, dict) and (item.get("text") or item.get("signature")):
            thought: Part = {"text": str(item.get("text") or ""), "thought": True}
            if item.get("signature"):
                thought["thoughtSignature"] = item["signature"]
            out.append(thought)
    return out


def merged(parts: list[Part]) -> list[Part]:
    """Texts of one kind that follow one another as one, up to the signature that ends them."""
    out: list[Part] = []
    for part in parts:
        last = out[-1] if out else {}
        same = "text" in part and "text" in last and part.get("thought") == last.get("thought")
        if same and "thoughtSignature" not in last:
            out[-1] = {**last, **part, "text": last["text"] + part["text"]}
        else:
            out.append(part)
    return out


def signature(extra: Any) -> str | None:
    """Where Google's own interface in OpenAI's form puts it: https://ai.google.dev/gemini-api/docs/thought-signatures."""
    google = extra.get("google") if isinstance(extra, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) and found else None


def signed(parts: list[Part], extra: Any) -> list[Part]:
    """The signature of a message stands on its last text."""
    found = signature(extra)
    if found is None:
        return parts
    at = next((i for i in reversed(range(len(parts))) if "text" in parts[i] and "thought" not in parts[i]), None)
    if at is None:
        return [*parts, {"text": "", "thoughtSignature": found}]
    return [*parts[:at], {**parts[at], "thoughtSignature": found}, *parts[at + 1 :]]


def call_part(call: ToolCall, id: str, number: int, *, cut: bool) -> Part:
    """A whole call.  `cut` says that the answer ended at its limit, where arguments may be unfinished."""
    function = call.function or Function()
    name = function.name or ""
    given = arguments(name, function.arguments or "", cut=cut)
    part: Part = {"functionCall": {"id": call.id or f"call_{id}_{number}", "name": name, "args": given}}
    found = signature(call.extra_content)
    return part if found is None else {**part, "thoughtSignature": found}


def _logprobs(content: list[Token]) -> Part:
    """https://ai.google.dev/api/generate-content#LogprobsResult"""
    chosen = [_token(one) for one in content]
    tops = [{"candidates": [_token(other) for other in one.top_logprobs or ()]} for one in content]
    mean = sum(one["logProbability"] for one in chosen) / len(chosen)
    return {"avgLogprobs": mean, "logprobsResult": {"chosenCandidates": chosen, "topCandidates": tops}}


def _token(one: Token) -> Part:
    return {"token": one.token or "", "logProbability": one.logprob or 0.0}


def usage(counts: Counts) -> Part:
    """Gemini counts thoughts beside the answer, chat inside of it."""
    prompt, completion = counts.prompt_tokens or 0, counts.completion_tokens or 0
    written, read = counts.completion_tokens_details or Details(), counts.prompt_tokens_details or Details()
    thoughts = written.reasoning_tokens or 0
    cached = counts.cache_read_input_tokens or read.cached_tokens or 0
    out = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": max(completion - thoughts, 0),
        "totalTokenCount": counts.total_tokens or prompt + completion,
    }
    if thoughts:
        out["thoughtsTokenCount"] = thoughts
    if cached:
        out["cachedContentTokenCount"] = cached
    return out
