"""Amazon Bedrock: chat and completions by Converse, whatever the model's family, and embeddings by InvokeModel.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.  Fields that only a model knows go on
in `additionalModelRequestFields`; the model stands in the path, which the upstream's base path ends with.
"""

import os
import re
from typing import Any
from urllib.parse import quote

from tesela.errors import ConfigError, InvalidRequest
from tesela.providers import asked, bedrock_embeddings, bedrock_keys, bedrock_messages
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.bedrock_answer import BedrockChunks, failure, whole
from tesela.providers.compatible import address, header
from tesela.providers.eventstream import EventStream
from tesela.providers.fields import (
    CHAT_NEUTRAL,
    COMPLETIONS_NEUTRAL,
    Fields,
    hints,
    not_in_chat,
    not_in_completions,
    passed,
    unsupported,
)
from tesela.providers.reading import Reading, Resolved
from tesela.providers.sigv4 import Signer
from tesela.serving import TokenSource, Upstream
from tesela.wire.document import Document, encode, raw, text, value
from tesela.wire.tasks import Task

Form = dict[str, Any]


def chat(call: Call) -> Exchange:
    """Raises InvalidRequest or Unsupported, naming the field, before anything is sent."""
    document, ignore = call.document, call.upstream.ignore
    rest = passed(document, CHAT, ignore)
    anthropic = "anthropic" in call.upstream.model
    system, turns = bedrock_messages.render(value(document, "messages"), ignore, signed=anthropic)
    body: Form = {"messages": turns}
    if system:
        body["system"] = system
    answer_tool = _tools(body, document)
    effort = text(document, "reasoning_effort")
    if effort == "none" and anthropic:
        rest.setdefault("thinking", raw({"type": "disabled"}))
    elif effort is not None and anthropic:
        body["outputConfig"] = {"effort": effort}
    elif effort is not None:
        rest["reasoning_effort"] = raw(effort)
    return _exchange(call, body, rest, answer_tool)


def completions(call: Call) -> Exchange:
    """The prompt is what the user says."""
    rest = passed(call.document, COMPLETIONS, call.upstream.ignore)
    content = [{"text": asked.prompt(call.document, "Bedrock")}]
    return _exchange(call, {"messages": [{"role": "user", "content": content}]}, rest, "")


def _exchange(call: Call, body: Form, rest: Document, answer_tool: str) -> Exchange:
    document = call.document
    found = {
        "maxTokens": asked.limit(document),
        "temperature": value(document, "temperature"),
        "topP": value(document, "top_p"),
        "stopSequences": asked.stops(document),
    }
    config = {name: given for name, given in found.items() if given is not None}
    for name in CONVERSE & rest.keys():
        given = value(rest, name)
        del rest[name]
        if name == "inferenceConfig" and isinstance(given, dict) and not given.keys() & config.keys():
            config |= given
        elif name in body or name == "inferenceConfig":
            raise InvalidRequest(f"{name!r} and another field say the same: give one of them", param=name)
        else:
            body[name] = given
    if config:
        body["inferenceConfig"] = config
    _model_fields(body, rest, call.upstream.model)
    path = "/converse-stream" if call.streaming else "/converse"
    sent = encode(body)
    chunks = BedrockChunks(call, answer_tool) if call.streaming else None
    return Exchange(
        path,
        sent,
        call.streaming,
        signed(call, path, sent),
        lambda told: whole(told, call, answer_tool),
        chunks,
        EventStream if call.streaming else None,
    )


def _model_fields(body: Form, rest: Document, model: str) -> None:
    given = body.get("additionalModelRequestFields")
    if given is not None and not isinstance(given, dict):
        raise InvalidRequest("'additionalModelRequestFields' must be an object", param="additionalModelRequestFields")
    fields: Form = dict(rest)
    for name in ZERO_IS_NOTHING & rest.keys():
        if value(rest, name) in (0, {}):
            del fields[name]
    if "nova" in model and "top_k" in fields:
        # https://docs.aws.amazon.com/nova/latest/userguide/using-converse-api.html
        fields["inferenceConfig"] = {"topK": fields.pop("top_k")}
    if twice := fields.keys() & (given or {}).keys():
        text = f"'additionalModelRequestFields' says {min(twice)!r} once more"
        raise InvalidRequest(text, param="additionalModelRequestFields")
    if fields or given:
        body["additionalModelRequestFields"] = fields | (given or {})


def signed(call: Call, path: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """The headers that sign this body at this time; none for an upstream that needs no signature."""
    upstream = call.upstream
    if upstream.signer is None:
        return ()
    headers: tuple[tuple[str, str], ...] = upstream.signer.headers(
        upstream.origin.authority, upstream.base_path + path, body, call.created
    )
    return headers


def _tools(body: Form, document: Document) -> str:
    """Puts the tools into the body; gives the name of the one that stands for the form of the answer, or nothing.

    https://docs.aws.amazon.com/bedrock/latest/userguide/tool-use.html.  Converse forbids a call by offering no tools,
    and gets an answer in JSON by a tool that takes it.
    """
    tools, choice = asked.choose(document, asked.functions(document))
    form = asked.answer_form(document)
    if choice is not None and choice.mode == "none":
        if any("toolUse" in block for turn in body["messages"] for block in turn["content"]):
            raise unsupported("tool_choice", "Converse takes no 'none' after calls of tools", ("auto",))
        tools, choice = [], None
    sent = []
    for tool in tools:
        sent.append(_tool(tool.name, tool.description, tool.parameters))
        if tool.cached:
            sent.append(bedrock_messages.CACHE)
    told: Form | None = None if choice is None or choice.mode == "auto" else {"any": {}}
    if choice is not None and choice.name is not None:
        told = {"tool": {"name": choice.name}}
    name = ""
    if form is not None:
        name = form.name
        while name in {tool.name for tool in tools}:
            name += "_"
        about = form.description or "Give the whole answer by calling this."
        if told is None:
            # With tools beside it the model calls one of them or answers; alone, it answers.
            told = {"any": {}} if sent else {"tool": {"name": name}}
            sent.append(_tool(name, about, form.schema or {"type": "object"}))
        else:
            name = ""  # A call is forced, so this is not the answer yet.
    if sent:
        body["toolConfig"] = {"tools": sent} | ({} if told is None else {"toolChoice": told})
    return name


def _tool(name: str, description: str | None, parameters: Form | None) -> Form:
    spec: Form = {"name": name, "inputSchema": {"json": parameters or {"type": "object", "properties": {}}}}
    return {"toolSpec": spec | ({"description": description} if description else {})}


def embeddings(call: Call) -> Exchange:
    sent, answer = bedrock_embeddings.request(call)
    return Exchange("/invoke", sent, False, signed(call, "/invoke", sent), answer)


CONVERSE = frozenset(
    {"inferenceConfig", "guardrailConfig", "performanceConfig", "requestMetadata", "promptVariables", "outputConfig"}
    | {"additionalModelRequestFields", "additionalModelResponseFieldPaths", "serviceTier"}
)
"""Fields of Converse itself, which go where it has them."""
ZERO_IS_NOTHING = frozenset({"presence_penalty", "frequency_penalty", "logit_bias"})
_SHARED = frozenset(
    {"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop", "temperature", "top_p"}
)
_IGNORED = hints("Bedrock") | {
    "metadata": "belongs to answers that are stored; Bedrock's own is `requestMetadata`",
    "prompt_cache_key": "a hint for a cache; Bedrock is told by `cache_control` of a part",
}
_NEUTRAL: dict[str, tuple[Any, ...]] = {"n": (1,), "store": (False,), "service_tier": ("auto", "default")}
_REFUSED = {
    "n": "Bedrock gives one answer at a time",
    "store": "Bedrock stores no answers",
    "service_tier": "Bedrock's tiers are given in 'serviceTier'",
}

CHAT = Fields(
    translated=_SHARED | {"messages", "tools", "tool_choice", "response_format", "reasoning_effort"},
    ignored=_IGNORED,
    neutral={
        **_NEUTRAL,
        **CHAT_NEUTRAL,
        "logprobs": (False,),
        "top_logprobs": (0,),
        "modalities": (["text"],),
    },
    refused={
        **_REFUSED,
        **not_in_chat("Bedrock"),
        "logprobs": "Converse gives no log probabilities",
        "top_logprobs": "Converse gives no log probabilities",
        "modalities": "Converse is not told what kinds of answer to give",
        "verbosity": "Converse cannot be told how much to say",
        "parallel_tool_calls": "Converse cannot keep a model from calling several tools",
        "audio": "Converse is not told a voice",
    },
)

COMPLETIONS = Fields(
    translated=_SHARED | {"prompt"},
    ignored=_IGNORED,
    neutral={**_NEUTRAL, **COMPLETIONS_NEUTRAL},
    refused={
        **_REFUSED,
        **not_in_completions("Bedrock"),
        "logprobs": "Converse gives no log probabilities",
        "use_raw_prompt": "Converse takes a prompt as a message only",
    },
)

BEDROCK = Provider(
    "amazon-bedrock", {Task.CHAT: chat, Task.COMPLETIONS: completions, Task.EMBEDDINGS: embeddings}, failure
)

KEYS = tuple(
    f"{name}{twin}"
    for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    for twin in ("", "_plaintext")
)
RETIRED = {
    "amazon.titan-text-": "Titan's text models",
    "ai21.j2-": "Jurassic-2",
    "cohere.command-text-": "Command",
    "cohere.command-light-text-": "Command Light",
    "anthropic.claude-v2": "Claude 2",
    "anthropic.claude-instant-": "Claude Instant",
}
"""Families whose own form only InvokeModel took; the last of them ended in August 2025:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-lifecycle.html"""
FAMILIES = ("anthropic", "cohere", "ai21labs", "amazon")


def resolve(reading: Reading, task: Task) -> Resolved:
    """`aws_session_token` and `amazon_bedrock_api_base` are ours: keys that end, and an address of one's own."""
    if reading.config.get("uc_service_credential_name") is not None:
        text = "there is no Unity Catalog here to get keys from; give aws_access_key_id and aws_secret_access_key"
        raise reading.wrong("uc_service_credential_name", f"{text}, or an instance_profile_arn")
    reading.only("aws_region", "bedrock_provider", *KEYS, "instance_profile_arn", "amazon_bedrock_api_base", "ignore")
    for beginning, label in RETIRED.items():
        if reading.model.name.startswith(beginning):
            text = f"{label} can no longer be called: Amazon retired it in 2025; name a model that Converse serves"
            raise reading.wrong("", f"{reading.model.name!r}: {text}")
    region = reading.required("aws_region", "must be a region such as us-east-1")
    if not _REGION.match(region):
        raise reading.wrong("aws_region", f"{region!r} is not a region such as us-east-1")
    family = reading.text("bedrock_provider")
    if family is not None and family.lower() not in FAMILIES:
        # The model's id says the same; a workspace wants it nevertheless.
        raise reading.wrong("bedrock_provider", f"{family!r} must be one of {', '.join(FAMILIES)}, or left out")
    origin, path, query = address(
        reading.text("amazon_bedrock_api_base") or f"https://{host(region)}", reading.where("amazon_bedrock_api_base")
    )
    if query:
        raise reading.wrong("amazon_bedrock_api_base", f"must be an address such as https://{host('us-east-1')}")
    place = f"{path}/model/{quote(reading.model.name, safe='')}"
    name = reading.model.name
    arn, signer, token = reading.text("instance_profile_arn"), None, None
    if arn is None:
        signer = _signer(reading, region)
    elif any(reading.config.get(key) for key in KEYS):
        raise reading.wrong("", "give instance_profile_arn or keys, not both")
    else:
        token = _machine(reading, arn, region)
    upstream = Upstream(origin, name, place, (), reading.timeouts, ignore=reading.ignore(), signer=signer, token=token)
    return Resolved(BEDROCK.name, frozenset({task}), upstream)


def _machine(reading: Reading, arn: str, region: str) -> TokenSource:
    try:
        return bedrock_keys.source(arn, region, os.environ)
    except ConfigError as exc:
        raise reading.wrong("instance_profile_arn", exc.message) from exc


def _signer(reading: Reading, region: str) -> Signer:
    parts = {}
    for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"):
        given = any(reading.config.get(name + twin) for twin in ("", "_plaintext"))
        if given or name != "aws_session_token":
            # Each of them ends up in a header or in what one is made of.
            parts[name] = header("x", reading.secret(name), reading.where(name))[1]
    access, secret = parts["aws_access_key_id"], parts["aws_secret_access_key"]
    return Signer(access, secret, region, parts.get("aws_session_token"))


def host(region: str) -> str:
    """https://docs.aws.amazon.com/general/latest/gr/bedrock.html"""
    return f"bedrock-runtime.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


_REGION = re.compile(r"^[a-z]{2,4}(-[a-z]+)+-\d{1,2}\Z")
