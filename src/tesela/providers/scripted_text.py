"""Text and numbers of a scripted model: its tokens, its templates, its log probabilities, its embeddings."""

import base64
import hashlib
import math
import re
import struct
from collections import defaultdict
from itertools import pairwise
from typing import Any

from tesela.providers.scripted_rules import Facts

_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
_TEMPLATE = re.compile(r"\{(last_user|n_messages|system|tool_result|attempt)\}")


def tokens(text: str) -> list[str]:
    """The text in tokens: each word and each other sign is one, with the space before it; they join to the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens a text is."""
    return sum(1 for _ in _TOKEN.finditer(text))


def fill(template: str, facts: Facts) -> str:
    """The template with its values.  Braces around anything else stay as they are, JSON among them."""
    values = {
        "last_user": facts.text,
        "n_messages": str(facts.messages),
        "system": facts.system,
        "tool_result": facts.tool_result,
        "attempt": str(facts.attempt),
    }
    return _TEMPLATE.sub(lambda match: values[match[1]], template)


def filled(value: Any, facts: Facts) -> Any:
    """A JSON value with all its strings filled."""
    if isinstance(value, str):
        return fill(value, facts)
    if isinstance(value, dict):
        return {key: filled(content, facts) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [filled(content, facts) for content in value]
    return value


def polite(facts: Facts) -> str:
    """What a model without a script says: different for different messages, short for all."""
    words = facts.text.split()
    start = " ".join(words[:8])[:80]
    return (
        f'Thank you for your message of {len(words)} words, which begins with "{start}". I am a scripted model, so all '
        f"that I can tell you is its number: {name(facts.text.encode())[:6]}."
    )


def name(data: bytes) -> str:
    """24 hexadecimal digits that stand for these bytes."""
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def logprob(token: str) -> float:
    """A log probability from -1 to 0 that depends on the token alone."""
    return -int.from_bytes(hashlib.blake2b(token.encode(), digest_size=2).digest()) / 65536


def alternatives(token: str, number: int) -> list[tuple[str, float]]:
    """The likeliest tokens in a place: the one that was taken, then made-up ones."""
    best = logprob(token)
    return [(token, best), *((f"{token}~{rank}", best - rank) for rank in range(1, number))][:number]


def embedding(text: str, dimensions: int) -> list[float]:
    """A unit vector.  Texts that share words are near to each other, the more so in the same order.

    Every word, and more weakly every pair of neighbours, adds or takes away at 16 places that its hash chooses.  The
    values are exact in 32 bits, so numbers and base64 say the same.
    """
    words = re.findall(r"\w+", text.lower())
    weights: defaultdict[str, float] = defaultdict(float)
    for word in words:
        weights[word] += 1.0
    for pair in pairwise(words):
        weights[" ".join(pair)] += 0.25
    weights["\0" + text] = 0.05
    vector = [0.0] * dimensions
    for feature, weight in weights.items():
        digest = hashlib.blake2b(feature.encode(), digest_size=64).digest()
        for (place,) in struct.iter_unpack("<I", digest):
            vector[(place >> 1) % dimensions] += weight if place & 1 else -weight
    return unit(vector)


def unit(vector: list[float]) -> list[float]:
    """The vector at length 1, each number as 32 bits hold it."""
    length = math.sqrt(sum(number * number for number in vector))
    if not length:
        vector, length = [1.0, *vector[1:]], 1.0
    return list(struct.unpack(f"<{len(vector)}f", struct.pack(f"<{len(vector)}f", *(one / length for one in vector))))


def packed(vector: list[float]) -> str:
    """As OpenAI's `encoding_format: base64`: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
