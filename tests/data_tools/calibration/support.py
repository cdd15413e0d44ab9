"""Logs of a server that is known, in every format that is read."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgecloud_gym.engines import EngineModel
from edgecloud_gym.simulator.engine_log import simulate_engine

SERVER = EngineModel(
    step_overhead=2e-3,
    step_floor=6e-3,
    token_time=4e-5,
    context_time=1e-7,
    prefill_overhead=0.025,
    sequences=32,
    kv_tokens=40_000,
)


def requests(
    rate: float, n: int = 160, seed: int = 0, server: EngineModel = SERVER, noise: float = 0.0
) -> list[Any]:
    """Returns (sent, scheduled, first, finish, prompt, output) of each request.

    Reading and decoding take longer or shorter by ``noise``, relative.
    """
    rng = np.random.default_rng(seed)
    sent = 100.0 + np.cumsum(rng.exponential(1 / rate, n))
    prompt = rng.integers(20, 3000, n)
    output = rng.integers(2, 200, n)
    run = simulate_engine(server, sent, prompt, output)
    read, wrote = np.exp(noise * rng.standard_normal((2, n)))
    first = run.admitted + (run.first_token - run.admitted) * read
    finish = first + (run.finish - run.first_token) * wrote
    rows = zip(sent, run.admitted, first, finish, prompt, output, strict=True)
    return [(*tuple(map(float, row[:4])), int(row[4]), int(row[5])) for row in rows]


def lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def table(path: Path, records: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


def vllm(folder: Path, rows: list[Any], **more: Any) -> Path:
    return lines(
        folder / "vllm.jsonl",
        [
            {
                "input_toks": p,
                "output_toks": o,
                "queued_ts": s,
                "scheduled_ts": a,
                "first_token_ts": f,
                "last_token_ts": e,
            }
            | more
            for s, a, f, e, p, o in rows
        ],
    )


def vllm_bench(folder: Path, rows: list[Any]) -> Path:
    path = folder / "bench.json"
    record = {
        "mean_ttft_ms": 1.0,
        "input_lens": [r[4] for r in rows],
        "output_lens": [r[5] for r in rows],
        "ttfts": [r[2] - r[0] for r in rows],
        "itls": [[(r[3] - r[2]) / (r[5] - 1)] * (r[5] - 1) for r in rows],
        "start_times": [r[0] for r in rows],
        "errors": ["" for _ in rows],
    }
    path.write_text(json.dumps(record))
    return path


def guidellm(folder: Path, rows: list[Any]) -> Path:
    path = folder / "guidellm.json"
    done = [
        {
            "info": {
                "timings": {
                    "request_start": s,
                    "first_token_iteration": f,
                    "last_token_iteration": e,
                    "request_end": e + 0.5,
                }
            },
            "prompt_tokens": p,
            "output_tokens": o,
        }
        for s, _, f, e, p, o in rows
    ]
    broken = {"successful": done, "errored": done[:3], "incomplete": done[:2]}
    path.write_text(json.dumps({"benchmarks": [{"requests": broken}]}))
    return path


def aiperf(folder: Path, rows: list[Any]) -> Path:
    def record(row: Any, **metadata: Any) -> dict[str, Any]:
        s, _, f, e, p, o = row
        times = {"request_start_ns": s * 1e9, "request_end_ns": e * 1e9}
        return {
            "metadata": times | {"benchmark_phase": "profiling", "was_cancelled": False} | metadata,
            "metrics": {
                "input_sequence_length": {"value": p, "unit": "tokens"},
                "output_sequence_length": {"value": o, "unit": "tokens"},
                "time_to_first_token": {"value": (f - s) * 1e3, "unit": "ms"},
                "request_latency": {"value": (e - s) * 1e3, "unit": "ms"},
            },
        }

    return lines(
        folder / "profile_export.jsonl",
        [record(rows[0], benchmark_phase="warmup"), record(rows[0], was_cancelled=True)]
        + [record(row) for row in rows],
    )


def blis(folder: Path, rows: list[Any]) -> Path:
    return table(
        folder / "blis.csv",
        [
            {
                "arrival_time_us": s * 1e6 - 50,
                "send_time_us": s * 1e6,
                "first_chunk_time_us": f * 1e6,
                "last_chunk_time_us": e * 1e6,
                "input_tokens": p,
                "output_tokens": o,
                "status": "ok",
            }
            for s, _, f, e, p, o in rows
        ]
        + [
            {
                "arrival_time_us": 1,
                "send_time_us": 1,
                "first_chunk_time_us": "",
                "last_chunk_time_us": "",
                "input_tokens": 5,
                "output_tokens": 0,
                "status": "timeout",
            }
        ],
    )


def dynamo(folder: Path, rows: list[Any]) -> Path:
    return lines(
        folder / "dynamo.jsonl",
        [
            {
                "request": {
                    "request_received_ms": s * 1e3,
                    "input_tokens": p + 64,
                    "output_tokens": o,
                    "cached_tokens": 64,
                    "ttft_ms": (f - s) * 1e3,
                    "total_time_ms": (e - s) * 1e3,
                }
            }
            for s, _, f, e, p, o in rows
        ],
    )


def ours(folder: Path, rows: list[Any]) -> Path:
    return table(
        folder / "requests.csv",
        [
            {
                "arrival_time": s,
                "first_token_time": f,
                "completion_time": e,
                "prompt_tokens": p,
                "output_tokens": o,
            }
            for s, _, f, e, p, o in [*rows, (rows[0][0], 0, "", rows[0][3], 9, 9)]
        ],
    )


WRITERS: dict[str, Callable[[Path, list[Any]], Path]] = {
    "vLLM statistics": vllm,
    "vllm bench serve": vllm_bench,
    "GuideLLM": guidellm,
    "AIPerf": aiperf,
    "BLIS TraceV2": blis,
    "Dynamo request trace": dynamo,
    "requests.csv": ours,
}
LEFT_OUT = {
    "GuideLLM": {"failed or cancelled": 5},
    "AIPerf": {"failed or cancelled": 1, "warm-up": 1},
    "BLIS TraceV2": {"failed or cancelled": 1},
    "requests.csv": {"without a time of the first token": 1},
}
