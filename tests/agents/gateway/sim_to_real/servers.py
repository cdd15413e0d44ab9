"""The servers of the study: llama.cpp's, or some whose steps sleep; one of them far away."""

from __future__ import annotations

import asyncio
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2

from data_tools.calibration import read_steps
from data_tools.load.session import ServerUnderLoad, measure_server
from edgecloud_gym.nodes import Engine, Node
from tests.agents.gateway.sim_to_real.slices import SLICES, on_core, sliced, two_cores, yielding
from tests.agents.gateway.support import CHAT, question
from tests.data_tools.load.batching_server import batching_server
from tests.data_tools.load.llama_server import SEQUENCES, started

# Of the servers whose steps sleep: overhead of a step, time per token (s), sequences.
STAND_INS: Final = {
    "edge-a": (4e-3, 4e-3, 4),
    "edge-b": (10e-3, 8e-3, 2),
    "cloud": (4e-3, 2e-3, 4),
}
RTT: Final = 0.05  # s, to the cloud
BACKLOG: Final = 2
LONGEST: Final = 96  # tokens of an answer


@contextmanager
def servers(stand_in: bool) -> Iterator[list[str]]:
    """Three servers, the last one meant for the cloud; yields their base URLs."""
    with ExitStack() as stack:
        if stand_in:
            urls = [
                stack.enter_context(batching_server(*numbers, most=100_000))[0].url
                for numbers in STAND_INS.values()
            ]
        else:
            cores, paced, urls = two_cores(), [], []
            for part in SLICES.values():
                with on_core(cores[part.core]):
                    url, process = stack.enter_context(started())
                urls.append(url)
                paced.append((process, part))
            stack.enter_context(on_core(cores[1]))
            stack.enter_context(sliced(paced))
            stack.enter_context(yielding())
        yield [url.removesuffix("/v1") for url in urls]


@contextmanager
def delayed(url: str, rtt: float) -> Iterator[str]:
    """A server behind a network: every byte is half a round trip later, either way."""
    target = urlsplit(url)
    told: queue.Queue[tuple[int, Callable[[], object]]] = queue.Queue()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(rtt / 2, writer.write, data)
        await asyncio.sleep(rtt / 2)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, answer = await asyncio.open_connection(target.hostname, target.port)
        try:
            await asyncio.gather(copy(reader, answer), copy(behind, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            answer.close()
            writer.close()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        told.put((port, lambda: loop.call_soon_threadsafe(stop.set)))
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    port, stop = told.get()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop()
        thread.join()


@contextmanager
def kept_busy(urls: Sequence[str]) -> Iterator[None]:
    """Lets each of these servers answer one request after the other until the block ends."""
    stopped = threading.Event()

    def ask(url: str) -> None:
        number = 0
        while not stopped.is_set():
            body = question(f"Tell story {number}.", stream=False, max_tokens=LONGEST)
            httpx2.post(url + CHAT, json=body, timeout=120, trust_env=False)
            number += 1

    threads = [threading.Thread(target=ask, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def measured_nodes(
    urls: Sequence[str], folder: Path, stand_in: bool, in_company: bool
) -> list[Node]:
    """Measures each server, if that was not done, and returns what they are.

    Args:
        urls: The servers, by themselves: the way to the cloud is no part of it.
        folder: Where the measurements are kept.
        stand_in: Whether their steps sleep.
        in_company: Whether the others compute meanwhile, as they do when requests are routed.
    """
    nodes: list[Node] = []
    for name, url in zip(STAND_INS, urls, strict=True):
        path = folder / f"{name}.sweep.json"
        if not path.exists():
            others = [other for other in urls if other != url]
            with kept_busy(others if in_company else []):
                _sweep(url, name, path)
        own = {} if stand_in else {"sequences": SEQUENCES}
        model = read_steps(path).engine(lookahead=False, name=name, **own)
        rtt = RTT if name == "cloud" else 0.0
        nodes.append(Engine(name, model=model, backlog=BACKLOG, network_rtt=rtt))
    return nodes


def _sweep(url: str, name: str, path: Path) -> None:
    """Measures a server; the file is there when all of it is: another start has other ports."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
        sweep = ServerUnderLoad(
            endpoint=url, model="m", name=name, output_dir=Path(unfinished),
            concurrencies=(1, 2, 3, 4, 5), prompt_lengths=(32, 64, 128, 256), repeats=3,
        )  # fmt: skip
        measure_server(sweep)
        sweep.sweep_path.replace(path)
