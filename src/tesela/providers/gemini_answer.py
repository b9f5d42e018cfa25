"""Gemini's answers, whole and streamed, in the unified form: a whole answer is a stream of one event.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference.  Signatures of thoughts stand where
Google's own interface in OpenAI's form puts them, in `extra_content` of a call or of the message; a caller that sends
them back gives the model its thoughts back.
"""

from collections.abc import Mapping

import msgspec

from tesela.errors import UpstreamError, UpstreamFailed, UpstreamProtocolError, UpstreamUnauthorized
from tesela.providers.base import Call, openai_failure
from tesela.providers.chunk_writer import ChunkWriter, Part, counts
from tesela.providers.gemini_contents import OWN
from tesela.wire.document import encode
from tesela.wire.sse import Event

FINISH: Mapping[str, str] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "OTHER": "stop",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "IMAGE_SAFETY",
         "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        "content_filter",
    ),
}  # fmt: skip
"""https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse#FinishReason"""

BROKEN = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"}
    | {"MISSING_THOUGHT_SIGNATURE"}
)
"""Ends that leave no answer: the model made something that its own provider cannot read."""


class Usage(msgspec.Struct, rename="camel"):
    """`candidates_token_count` leaves thoughts out; `prompt_token_count` holds cached ones."""

    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None

    def unified(self) -> Part:
        prompt = (self.prompt_token_count or 0) + (self.tool_use_prompt_token_count or 0)
        completion = (self.candidates_token_count or 0) + (self.thoughts_token_count or 0)
        cached, thoughts = self.cached_content_token_count, self.thoughts_token_count
        return counts(prompt, completion, cached=cached, reasoning=thoughts)


class Content(msgspec.Struct):
    parts: list[Part] | None = None


class Token(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0

    def unified(self) -> Part:
        return {"token": self.token, "logprob": self.log_probability, "bytes": list(self.token.encode())}


class Top(msgspec.Struct):
    candidates: list[Token] | None = None


class Logprobs(msgspec.Struct, rename="camel"):
    """https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/LogprobsResult"""

    chosen_candidates: list[Token] | None = None
    top_candidates: list[Top] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    citation_metadata: Part | None = None
    grounding_metadata: Part | None = None
    logprobs_result: Logprobs | None = None


class Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class Told(msgspec.Struct, rename="camel"):
    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Usage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Part | None = None


_told = msgspec.json.Decoder(Told, strict=False).decode


class GeminiChunks:
    """One answer.  The end waits for the last event: signatures and counts may come after the reason."""

    __slots__ = ("_call", "_extra", "_out", "_reason", "_refusal", "_usage")
    ended = False

    def __init__(self, call: Call) -> None:
        self._call = call
        self._out: ChunkWriter | None = None
        self._usage = Usage()
        self._reason: str | None = None
        self._refusal = ""
        self._extra: Part = {}

    def feed(self, event: Event) -> list[bytes]:
        try:
            told = _told(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise UpstreamProtocolError(f"Gemini's answer cannot be read: {exc}") from exc
        if told.error is not None:
            raise failed(told.error)
        if self._out is None:
            if told.candidates is None and told.prompt_feedback is None and told.usage_metadata is None:
                raise UpstreamProtocolError("Gemini's answer has no candidates: is the address that of its API?")
            self._out = ChunkWriter(self._call, id=told.response_id or self._call.id, model=told.model_version or "")
        self._usage = told.usage_metadata or self._usage
        feedback = told.prompt_feedback
        if feedback is not None and feedback.block_reason:
            self._reason = "SAFETY"
            said = feedback.block_reason_message or f"The prompt was blocked ({feedback.block_reason})."
            self._refusal = said
        for candidate in (told.candidates or ())[:1]:
            self._take(candidate, self._out)
        return self._out.taken()

    def _take(self, candidate: Candidate, out: ChunkWriter) -> None:
        logprobs = _logprobs(candidate.logprobs_result)
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            self._part(part, out, logprobs)
            if "text" in part and not part.get("thought"):
                logprobs = b"null"
        for name, found in (
            ("citation_metadata", candidate.citation_metadata),
            ("grounding_metadata", candidate.grounding_metadata),
        ):
            if found:
                self._extra[name] = found
        if candidate.finish_reason:
            self._reason = candidate.finish_reason
            if candidate.finish_reason in BROKEN:
                more = f": {candidate.finish_message}" if candidate.finish_message else ""
                raise UpstreamFailed(f"Gemini could not finish its answer ({candidate.finish_reason}){more}")

    def _part(self, part: Part, out: ChunkWriter, logprobs: bytes) -> None:
        signature, call = part.get("thoughtSignature"), part.get("functionCall")
        if isinstance(call, dict):
            rest = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
            arguments = encode(call.get("args") or {}).decode()
            name, found = str(call.get("name") or ""), call.get("id")
            # Gemini names no call; whoever sends results must be able to.
            out.call(str(found or f"call_{self._call.id}_{out.calls}"), name, arguments, **rest)
            return
        if signature:
            self._extra["thought_signature"] = signature
        text, inline = part.get("text"), part.get("inlineData")
        if isinstance(text, str):
            if part.get("thought"):
                out.thought(text=text)
            elif text:
                out.text(encode(text), logprobs)
        elif isinstance(inline, dict):
            url = f"data:{inline.get('mimeType')};base64,{inline.get('data')}"
            out.part({"type": "image_url", "image_url": {"url": url}})
        else:
            for kind, key in OWN.items():
                if key in part:
                    out.part({"type": kind, key: part[key]})

    def finish(self) -> list[bytes]:
        out = self._out
        if out is None or self._reason is None:
            raise UpstreamProtocolError("Gemini ended its stream in the middle of the answer")
        if self._extra:
            out.field(extra_content={"google": self._extra})
        finish = FINISH.get(self._reason, "stop")
        if finish == "content_filter" and not out.said:
            out.field(refusal=self._refusal or f"The answer was blocked ({self._reason}).")
        out.end("tool_calls" if out.calls and finish == "stop" else finish)
        out.usage(self._usage.unified())
        return out.taken()


def whole(body: bytes, call: Call) -> bytes:
    """The whole answer.  Raises UpstreamError for a body that is none."""
    chunks = GeminiChunks(call)
    written = chunks.feed(Event(b"", body)) + chunks.finish()
    return assembled(written, call)


def assembled(written: list[bytes], call: Call) -> bytes:
    out = ChunkWriter(call, id="")
    out.out = written
    return out.whole()


def _logprobs(result: Logprobs | None) -> bytes:
    if result is None or result.chosen_candidates is None:
        return b"null"
    tops = result.top_candidates or []
    content = []
    for position, one in enumerate(result.chosen_candidates):
        top = (tops[position].candidates or []) if position < len(tops) else []
        content.append({**one.unified(), "top_logprobs": [other.unified() for other in top]})
    return encode({"content": content})


def failed(told: Part) -> UpstreamError:
    """The error that the provider told where no status can be."""
    code = told.get("code")
    return openai_failure(code if isinstance(code, int) and code >= 400 else 500, encode({"error": told}), None)


def failure(status: int, body: bytes, retry_after_s: int | None) -> UpstreamError:
    """Google tells a message, a code and a word; some of its servers wrap them in a list.

    https://cloud.google.com/apis/design/errors
    """
    told = body.strip()
    if told.startswith(b"[") and told.endswith(b"]"):
        told = told[1:-1]
    error = openai_failure(status, told, retry_after_s)
    if isinstance(error, UpstreamUnauthorized):
        text = f"the provider refused this endpoint's service account (status {status}); the endpoint's owner must "
        return UpstreamUnauthorized(text + "mend its key or its permissions", upstream_status=status)
    return error
