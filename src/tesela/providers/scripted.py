"""The scripted model: a deterministic stand-in for a real one, for people's tests and for ours.

It speaks the unified form, so nothing is translated; the gateway plays its script where another provider would be
dialled.  It never guesses: a request that it cannot answer by its script is refused as OpenAI would refuse it.
"""

from tesela.providers.base import Provider
from tesela.providers.scripted_play import Play, play
from tesela.providers.scripted_rules import Script, script_from
from tesela.wire.tasks import Task

__all__ = ["SCRIPTED", "Play", "Script", "play", "script_from"]

SCRIPTED = Provider("scripted", {Task.CHAT: None, Task.COMPLETIONS: None, Task.EMBEDDINGS: None})
