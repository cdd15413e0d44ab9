"""A recorded run as a workload: its requests, to be played by other agents in simulation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agents.gateway.records.recorder import REQUESTS, ROUNDS, RUN, read_round
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.dataset import RequestDataset, load_dataset
from edgecloud_gym.files import UnreadableFileError, read_json, read_jsonl
from edgecloud_gym.node_files import make_node
from edgecloud_gym.nodes import Node
from edgecloud_gym.simulator.live_requests import LiveRequests


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """What happened in a recorded run.

    Attributes:
        agent: Who routed.
        requests: A row per request that was completed, in order of arrival.
        left_out: How many were not.
        dataset: The requests as a dataset, row by row.
    """

    agent: str
    requests: pd.DataFrame
    left_out: int
    dataset: RequestDataset

    def settings(self) -> dict[str, Any]:
        """Returns settings that let the same requests arrive at the same times."""
        arrivals = self.requests["arrival_time"].to_numpy()
        times = arrivals - arrivals[0]
        return {
            "dataset": self.dataset,
            "arrivals": Trace(times),
            "prompt_order": "sequential",
            "duration": float(times[-1]) + 1.0,
            "observe": "id" if self.dataset.embeddings is None else "embedding",
        }

    def measured(self) -> dict[str, float]:
        """Returns what was measured: the metrics of the same names of simulated runs, in s."""
        table = self.requests
        jct = table["completion_time"] - table["arrival_time"]
        ttft = (table["first_token_time"] - table["arrival_time"]).dropna()
        found: dict[str, Any] = {"jct_mean": jct.mean(), "jct_p95": jct.quantile(0.95)}
        if len(ttft):
            found |= {"ttft_mean": ttft.mean(), "ttft_p95": ttft.quantile(0.95)}
        return {name: round(float(value), 6) for name, value in found.items()}


def read_record(folder: Path, reference: RequestDataset | None = None) -> RecordedRun:
    """Reads a record.

    Args:
        folder: What ``edgecloud serve --record`` wrote.
        reference: Whose machine base latencies refer to; by default what the record names.

    Raises:
        UnreadableFileError: If it is no record, or no request was completed.
        OSError: If it cannot be read.
    """
    run = read_json(folder / RUN)
    try:
        table = pd.read_csv(folder / REQUESTS)
        done = table[table["outcome"] == "completed"].reset_index(drop=True)
        known = load_dataset(run["dataset"]) if reference is None else reference
        agent = str(run["agent"])
    except (ValueError, KeyError) as error:
        raise UnreadableFileError(f"{folder}: no record of a live run ({error})") from error
    if len(done) == 0:
        raise UnreadableFileError(f"{folder / REQUESTS}: no request was completed")
    outputs = done["output_tokens"].clip(lower=1).to_numpy(np.int32)
    prompts = done["prompt_tokens"].clip(lower=1).to_numpy(np.int32)
    service = (done["completion_time"] - done["dispatch_time"]).to_numpy()
    rows = LiveRequests(known, 1)
    alone = [
        rows.alone(int(prompt), int(output), float(seconds))
        for prompt, output, seconds in zip(prompts, outputs, service, strict=True)
    ]
    dataset = RequestDataset.from_arrays(
        alone,
        embeddings=_embeddings(folder, done["request_id"].to_numpy()),
        prompt_tokens=prompts,
        cached_tokens=_cached(folder / REQUESTS, table),
        response_tokens=outputs,
        slowdown=known.slowdown,
        name=known.name,  # agents predict by what they predicted by live
    )
    return RecordedRun(agent, done, len(table) - len(done), dataset)


def _cached(file: Path, table: pd.DataFrame) -> NDArray[np.int32] | None:
    """Returns the prompt tokens that servers found in their caches (n,), -1 where none says so.

    None where nothing is known: older records have no such column.

    Args:
        file: Where they were read, for messages.
        table: All requests; those that were completed count.
    """
    done = table[table["outcome"] == "completed"]
    if "cached_tokens" not in done or done["cached_tokens"].isna().all():
        return None
    counts = pd.to_numeric(done["cached_tokens"], errors="coerce")
    known = done["cached_tokens"].notna()
    good = (counts >= 0) & (counts <= done["prompt_tokens"]) & (counts % 1 == 0)
    wrong = done[known & ~good]
    if len(wrong):
        row, first = wrong.index[0], wrong.iloc[0]
        raise UnreadableFileError(
            f"{file}, line {row + 2}: cached_tokens={first['cached_tokens']}: must be a whole "
            f"number from 0 to prompt_tokens={first['prompt_tokens']}, or empty"
        )
    return counts.fillna(-1).to_numpy(np.int32)


def _embeddings(folder: Path, ids: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Returns the embeddings of requests (n, d), if they were recorded."""
    found: dict[int, NDArray[np.float32]] = {}
    for _, record in read_jsonl(folder / ROUNDS):
        if isinstance(record, ValueError):
            continue  # a line that was being written when the gateway was killed
        for request in read_round(record)[0].arrivals:
            if request.embedding is not None:
                found[request.key] = request.embedding
    if any(key not in found for key in ids.tolist()):
        return None
    return np.stack([found[key] for key in ids.tolist()])


def recorded_nodes(folder: Path) -> list[Node]:
    """Returns the nodes of a recorded run, as the gateway believed them to be."""
    return [make_node(fields) for fields in read_json(folder / RUN)["nodes"]]
