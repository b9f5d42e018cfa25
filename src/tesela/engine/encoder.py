"""Texts to vectors: tokeniser, ONNX session, and batches made of whatever is waiting at the moment.

A request never waits for others to come: while one batch is computed the next one gathers.  Requests take turns, so
a short one is not behind two thousand texts of another.
"""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeAlias

from tesela.engine.spec import EngineSpec
from tesela.errors import ConfigError

#: numpy is imported with the engine and not before, so its types are not spelled here.
Array: TypeAlias = Any

#: Tokens, padding included, in one run.  More than this is slower on a processor, and others wait longer.
BATCH_TOKENS = 1024
#: Below so many characters the tokeniser is done sooner than another thread would have begun.
_INLINE_CHARACTERS = 4000


class Encoder:
    """The model itself.  Raises ConfigError when a library or a file is missing."""

    def __init__(self, spec: EngineSpec) -> None:
        try:
            import numpy
            import onnxruntime
            import tokenizers
        except ImportError as exc:
            raise ConfigError(f"{spec.name!r} needs the local engine: pip install 'tesela[local]' ({exc})") from exc
        for path in (spec.model, spec.tokenizer):
            if not os.path.isfile(path):
                raise ConfigError(f"the model file {path} of {spec.name!r} is not there")
        self._np = numpy
        self.context = spec.context
        self._tokenizer_file = spec.tokenizer
        self._tokenizer = tokenizers.Tokenizer.from_file(spec.tokenizer)
        # The file asks for padding to 128 and for truncation there: both are wrong for this model.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.context)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = spec.batch_threads or os.cpu_count() or 1
        # Threads that spin between two operations take the processor from the other engines.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(spec.model, options, providers=["CPUExecutionProvider"])
        self.dimensions = int(self._session.get_outputs()[0].shape[1])

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text with the model's special tokens, cut at the model's length."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]

    def tokens(self, text: str) -> list[int]:
        """Token ids of the whole text, without special tokens."""
        ids: list[int] = self._whole.encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def _whole(self) -> Any:
        """A second tokeniser, which cuts nothing.  Made when somebody counts tokens, which few do."""
        whole = type(self._tokenizer).from_file(self._tokenizer_file)
        whole.no_padding()
        whole.no_truncation()
        return whole

    def embed(self, rows: Sequence[list[int]]) -> Array:
        """One vector of length one per row of token ids, float32, in the order of the rows."""
        out = self._np.empty((len(rows), self.dimensions), self._np.float32)
        for group in groups([len(row) for row in rows]):
            width = max(len(rows[index]) for index in group)
            ids = self._np.zeros((len(group), width), self._np.int64)
            mask = self._np.zeros_like(ids)
            for place, index in enumerate(group):
                row = rows[index]
                ids[place, : len(row)] = row
                mask[place, : len(row)] = 1
            out[group] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return out


def groups(lengths: Sequence[int], tokens: int = BATCH_TOKENS) -> list[list[int]]:
    """Split positions into runs of similar length, so that little is computed for padding."""
    result: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        length, group = lengths[index], result[-1] if result else []
        if group and length <= 1.25 * lengths[group[0]] + 4 and length * (len(group) + 1) <= tokens:
            group.append(index)
        else:
            result.append([index])
    return result


class _Job:
    """The texts of one request that are not computed yet, longest last, and the place for their vectors."""

    def __init__(self, rows: list[list[int]], out: Array, done: asyncio.Future[None]) -> None:
        self.rows = rows
        self.waiting = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
        self.missing = len(rows)
        self.out = out
        self.done = done


class Batcher:
    """Joins the texts of concurrent requests.  Runs in one event loop; the model runs in one thread."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._jobs: deque[_Job] = deque()
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._tokeniser = ThreadPoolExecutor(1, thread_name_prefix="tokeniser")
        self._task: asyncio.Task[None] | None = None

    async def embed(self, texts: list[str]) -> tuple[Array, int]:
        """Vectors of the texts, and how many tokens the model read for them."""
        loop = asyncio.get_running_loop()
        if sum(map(len, texts)) < _INLINE_CHARACTERS:
            rows = self.encoder.tokenise(texts)
        else:
            rows = await loop.run_in_executor(self._tokeniser, self.encoder.tokenise, texts)
        out = self.encoder._np.empty((len(rows), self.encoder.dimensions), "float32")
        job = _Job(rows, out, loop.create_future())
        self._jobs.append(job)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        await job.done
        return out, sum(map(len, rows))

    async def tokens(self, text: str) -> list[int]:
        return await asyncio.get_running_loop().run_in_executor(self._tokeniser, self.encoder.tokens, text)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            rows = [job.rows[index] for job, index in batch]
            try:
                vectors = await loop.run_in_executor(self._model, self.encoder.embed, rows)
            except RuntimeError as exc:
                self._fail(batch, exc)
                continue
            for (job, index), vector in zip(batch, vectors, strict=True):
                job.out[index] = vector
                job.missing -= 1
                if job.missing == 0 and not job.done.done():
                    job.done.set_result(None)

    def _take(self) -> list[tuple[_Job, int]]:
        """The next texts to compute, one of each request in turn; none of a request whose caller has left."""
        batch: list[tuple[_Job, int]] = []
        tokens = 0
        while self._jobs and tokens < BATCH_TOKENS:
            job = self._jobs.popleft()
            if job.done.done():
                continue
            index = job.waiting.pop()
            batch.append((job, index))
            tokens += len(job.rows[index])
            if job.waiting:
                self._jobs.append(job)
        return batch

    @staticmethod
    def _fail(batch: list[tuple[_Job, int]], exc: RuntimeError) -> None:
        for job, _ in batch:
            if not job.done.done():
                job.done.set_exception(exc)
