"""The bare chat engine: xllamacpp's own server on a loopback port, nothing of Tesela around it.

Run as `python -m bench.bare_llama MODEL PORT SLOTS CONTEXT THREADS BATCH_THREADS`. It ends with its parent.
"""

import signal
import sys


def main(model: str, port: int, slots: int, context: int, threads: int, batch_threads: int) -> None:
    """Load the model with the settings that Tesela gives its engine, and serve until told to stop."""
    import xllamacpp

    p = xllamacpp.CommonParams()
    p.model.path = model
    p.n_parallel = slots
    p.n_ctx = context * slots
    p.kv_unified = False
    p.cpuparams.n_threads = threads
    p.cpuparams_batch.n_threads = batch_threads
    p.cache_ram_mib = 0
    p.hostnames = ["127.0.0.1"]
    p.port = port
    p.ui = False
    p.verbosity = 2
    server = xllamacpp.Server(p)
    sys.stdout.write(f"{server.listening_address}\n")
    # SIGTERM ends the process as it is: the server's destructor can wait without end.
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:7]))
