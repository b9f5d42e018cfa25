"""What requests of each task look like, as JSON schemas with a word on every field.

They agree with `tesela.wire.check`, which judges requests to models of ours: a field may be absent or null, and others
than these are allowed, since a provider's model may know more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tesela.wire.check import MAX_INPUTS, MAX_INTEGER, MAX_LEGACY_LOGPROBS, MAX_STOPS, MAX_TOOLS, ROLES

Json = dict[str, Any]


def _may(kind: str, description: str, **more: Any) -> Json:
    """A field that may be null."""
    if "enum" in more:
        more["enum"] = [*more["enum"], None]
    return {"type": [kind, "null"], "description": description, **more}


def _any(description: str, *kinds: Json) -> Json:
    return {"description": description, "anyOf": [*kinds, {"type": "null"}]}


def _object(required: Sequence[str], properties: Mapping[str, Json], description: str = "") -> Json:
    made: Json = {"type": "object", "properties": dict(properties), "required": list(required)}
    return made | ({"description": description} if description else {})


STRING: Json = {"type": "string"}
COUNT: Json = {"minimum": 1, "maximum": MAX_INTEGER}
PENALTY: Json = {"minimum": -2, "maximum": 2}
TOKENS: Json = {"type": "array", "items": {"type": "integer", "minimum": 0}}
INPUTS: Json = {"type": "array", "minItems": 1, "items": {"anyOf": [STRING, TOKENS["items"], TOKENS]}}

SAMPLING: dict[str, Json] = {
    "temperature": _may("number", "How freely to choose: 0 always takes the likeliest.", minimum=0, maximum=2),
    "top_p": _may("number", "Choose among the likeliest tokens up to this share.", exclusiveMinimum=0, maximum=1),
    "presence_penalty": _may("number", "Above 0: speak less of what was mentioned.", **PENALTY),
    "frequency_penalty": _may("number", "Above 0: repeat less what was said often.", **PENALTY),
    "n": _may("integer", "How many answers.", **COUNT),
    "seed": _may("integer", "The same seed gives the same answer, as far as the model can."),
    "stop": _any(
        f"Where to end: one text, or up to {MAX_STOPS}.",
        STRING,
        {"type": "array", "items": STRING, "maxItems": MAX_STOPS},
    ),
    "logit_bias": _may("object", "Token ids with numbers from -100 to 100 that make them less or more likely."),
    "stream": _may("boolean", "Send the answer in parts, while it is made.", default=False),
    "stream_options": {
        "type": ["object", "null"],
        "description": "Only with stream.",
        "properties": {"include_usage": _may("boolean", "Tell the number of tokens at the end.")},
    },
}

PARTS: Json = {
    "type": "array",
    "items": _object(
        ["type"],
        {
            "type": {"type": "string", "description": "What kind of part, such as text or image_url."},
            "text": {"type": "string", "description": "The text of a part of type text."},
            "image_url": _object(
                ["url"],
                {
                    "url": {"type": "string", "description": "An address or a data URL."},
                    "detail": _may("string", "How closely to look.", enum=["auto", "low", "high"]),
                },
                "The picture of a part of type image_url.",
            ),
        },
    ),
}
CALL: Json = _object(
    ["id", "function"],
    {
        "id": {"type": "string", "description": "By which the tool's result names the call."},
        "type": {"type": "string", "enum": ["function"]},
        "function": _object(
            ["name", "arguments"],
            {
                "name": STRING,
                "arguments": {"type": "string", "description": "JSON in a string, as the model wrote it."},
            },
        ),
    },
)
MESSAGE: Json = _object(
    ["role"],
    {
        "role": {"type": "string", "enum": list(ROLES), "description": "Who says it."},
        "content": _any("What is said: a text, or parts of texts and pictures.", STRING, PARTS),
        "tool_calls": _may("array", "Calls that the model made, in a message of the assistant.", items=CALL),
        "tool_call_id": _may("string", "Which call a message of a tool answers."),
    },
)
FUNCTION: Json = _object(
    ["name"],
    {
        "name": {"type": "string", "description": "Letters, digits, _ and -."},
        "description": _may("string", "When to call it; the model reads this."),
        "parameters": _may("object", "A JSON schema of its arguments."),
        "strict": _may("boolean", "Hold the arguments to the schema."),
    },
)
TOOL: Json = _object(["type"], {"type": {"type": "string", "enum": ["function"]}, "function": FUNCTION})
FORMAT: Json = {
    "type": ["object", "null"],
    "description": "What form the answer must have.",
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "enum": ["text", "json_object", "json_schema"]},
        "json_schema": _object(
            ["name", "schema"],
            {
                "name": STRING,
                "schema": {"type": "object", "description": "The JSON schema that the answer follows."},
                "description": _may("string", "What it is for."),
                "strict": _may("boolean", "Hold the answer to the schema."),
            },
            "Needed with the type json_schema.",
        ),
    },
}

CHAT: Json = _object(
    ["messages"],
    {
        "messages": {
            "type": "array", "minItems": 1, "description": "The conversation so far.",
            "items": {"$ref": "#/components/schemas/Message"},
        },
        "max_tokens": _may("integer", "Most tokens of the answer.", **COUNT),
        "max_completion_tokens": _may("integer", "Another name of max_tokens; give one of them.", **COUNT),
        **SAMPLING,
        "tools": _may("array", "Functions that the model may call.", items=TOOL, maxItems=MAX_TOOLS),
        "tool_choice": _any(
            "none, auto, required, or an object that names a function.",
            {"type": "string", "enum": ["none", "auto", "required"]}, {"type": "object"},
        ),
        "parallel_tool_calls": _may("boolean", "Whether it may call several functions at once."),
        "response_format": FORMAT,
        "logprobs": _may("boolean", "Tell how likely each token was."),
        "top_logprobs": _may("integer", "How many other tokens to tell; needs logprobs.", minimum=0, maximum=20),
    },
)  # fmt: skip
COMPLETIONS: Json = _object(
    ["prompt"],
    {
        "prompt": {
            "description": "What to go on from: a text, several, or token ids.",
            "anyOf": [STRING, INPUTS],
        },
        "max_tokens": _may("integer", "Most tokens of the answer.", minimum=0, maximum=MAX_INTEGER),
        **SAMPLING,
        "best_of": _may("integer", "Make this many answers and keep the best.", **COUNT),
        "echo": _may("boolean", "Begin the answer with the prompt."),
        "suffix": _may("string", "What comes after the answer."),
        "logprobs": _may("integer", "How many likely tokens to tell.", minimum=0, maximum=MAX_LEGACY_LOGPROBS),
    },
)  # fmt: skip
EMBEDDINGS: Json = _object(
    ["input"],
    {
        "input": {
            "description": f"One text, or up to {MAX_INPUTS}.",
            "anyOf": [STRING, INPUTS | {"maxItems": MAX_INPUTS}],
        },
        "dimensions": _may("integer", "How many numbers each embedding has, where the model can shorten it.", **COUNT),
        "encoding_format": _may("string", "Numbers, or their bytes as base64.", enum=["float", "base64"]),
        "instruction": _may("string", "What the embeddings are for, with models that ask for it."),
    },
)  # fmt: skip
RESPONSES: Json = _object(
    ["input"],
    {
        "input": {
            "description": "A text, or a list of items.",
            "anyOf": [STRING, {"type": "array", "items": {"type": "object"}}],
        },
        "instructions": _may("string", "What the model is told before the input."),
        "max_output_tokens": _may("integer", "Most tokens of the answer.", **COUNT),
        **{name: SAMPLING[name] for name in ("temperature", "top_p", "stream")},
        "tools": _may("array", "Functions that the model may call.", items={"type": "object"}),
        "tool_choice": _any("none, auto, required, or an object that names a function.", STRING, {"type": "object"}),
        "text": _may("object", "The form of the answer, in its field format."),
        "reasoning": _may("object", "How long to think, in its field effort."),
    },
)  # fmt: skip
