"""Models that we run: chat and completions on llama.cpp, embeddings on a runner of ours.

The engine takes nearly anything and does what it likes with it, so requests are judged here, and what it lacks (tools,
`echo`, several kinds of log probabilities, usage of several choices) is made here or refused by name.
"""

from tesela.providers import local_chat, local_completions, local_embeddings
from tesela.providers.base import Provider
from tesela.providers.local_engine import failure
from tesela.wire.tasks import Task

LOCAL = Provider(
    name="local",
    translations={
        Task.CHAT: local_chat.translate,
        Task.COMPLETIONS: local_completions.translate,
        Task.EMBEDDINGS: local_embeddings.translate,
    },
    failure=failure,
    reasoning=False,
)
