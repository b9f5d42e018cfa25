"""The bare embeddings engine: onnxruntime and the tokeniser in one loop, in process, nothing of Tesela around it.

Run as `python -m bench.bare_onnx MODEL TOKENIZER CONTEXT THREADS`. Each line on standard input, `REQUESTS TEXTS`,
is answered by the seconds that took.
"""

import sys
import time

from bench.texts import batch


def main(model: str, tokenizer_file: str, context: int, threads: int) -> None:
    """Answer lines until standard input ends."""
    import numpy as np
    import onnxruntime
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(tokenizer_file)
    tokenizer.enable_truncation(context)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for line in sys.stdin:
        requests, texts = (int(word) for word in line.split())
        began = time.perf_counter()
        for number in range(requests):
            encoded = tokenizer.encode_batch(batch(number, texts))
            ids = np.array([row.ids for row in encoded], np.int64)
            mask = np.array([row.attention_mask for row in encoded], np.int64)
            (vectors,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
            if vectors.shape[0] != texts:
                raise ValueError(f"{vectors.shape[0]} vectors for {texts} texts")
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
