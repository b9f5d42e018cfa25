"""The AI functions' names, for those who only have to know whether a statement may call one."""

import re

NAMES = (
    "ai_analyze_sentiment", "ai_classify", "ai_extract", "ai_fix_grammar", "ai_gen", "ai_mask", "ai_query",
    "ai_similarity", "ai_summarize", "ai_translate",
)  # fmt: skip
_QUOTED = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|--[^\n]*|/\*.*?\*/""",
    re.DOTALL,
)
_CALL = re.compile(rf"\b(?:{'|'.join(NAMES)})\s*\(", re.IGNORECASE)


def called(text: str) -> bool:
    """Whether the name of an AI function stands before a bracket, outside of strings, quoted names and comments."""
    return _CALL.search(_QUOTED.sub(" ", text)) is not None
