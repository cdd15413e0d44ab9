"""Fits the bundled engine models, and writes them and docs/data/engines.csv with their errors.

python docs/rebuild_engines.py             # some minutes on two cores; no timing in it
python docs/rebuild_engines.py h100 rtx    # only the models whose names hold one of these

The logs are not part of the repository: the environment variable EDGECLOUD_SHARED names the folder
with `data/vllm_logs` and `data/splitwise_perf_model.csv.gz`, by default `shared` beside it. What
is fitted and what is judged is said in each row of docs/data/engines.csv, from which every number
on the page "Engines" is read.
"""

import argparse
import csv
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_tools.calibration import calibrate, read_log
from data_tools.calibration.calibrate import errors_on
from data_tools.calibration.errors import ERRORS, Times, relative_errors
from data_tools.calibration.fit import Part
from edgecloud_gym.dataset import load_dataset
from edgecloud_gym.engines import ENGINES, TIMES, EngineModel
from edgecloud_gym.simulator.engine_log import simulate_engine

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "data"
SHARED = Path(os.environ.get("EDGECLOUD_SHARED", ROOT.parent / "shared")) / "data"
LOGS = SHARED / "vllm_logs"
LLAMA_CPP = LOGS / "llamacpp_2cores_SmolLM2-135M_0.8rps.jsonl.gz"

# Measured at fixed concurrencies on the machine of the llama.cpp log.
LLAMA_CPP_CURVE = ((1, 0.0095), (2, 0.0172), (3, 0.0248), (4, 0.0272), (16, 0.055))
OWN = "Own measurement with vLLM 0.23, random weights of that shape, prefix caching off"
LLMSERVINGSIM = "Request log of vLLM 0.19 from LLMServingSim, bench/examples (MIT)"
SPLITWISE = "Measurements of Microsoft's Splitwise, splitwise-sim (MIT)"

# Per name: logs, the model served, the hardware, the source, settings.
FITTED: dict[str, tuple[tuple[str, ...], str, str, str, dict[str, Any]]] = {
    "h100-llama-3.1-8b": (
        ("H100_Llama-3.1-8B_6rps",),
        "Llama-3.1-8B",
        "one H100 80GB",
        OWN,
        {"prefix_caching": False},
    ),
    "h100-qwen2.5-3b": (
        ("H100_Qwen2.5-3B_cache25600_12rps", "H100_Qwen2.5-3B_cache25600_30rps"),
        "Qwen2.5-3B",
        "one H100 80GB, cache limited to 25,600 tokens",
        OWN,
        {"prefix_caching": False},
    ),
    "rtxpro6000-llama-3.1-8b": (
        ("RTXPRO6000_Llama-3.1-8B",),
        "Llama-3.1-8B",
        "one RTX PRO 6000",
        LLMSERVINGSIM,
        {"sequences": 128, "batched_tokens": 2048},
    ),
    "rtxpro6000x2-qwen3-32b": (
        ("RTXPRO6000_Qwen3-32B",),
        "Qwen3-32B",
        "two RTX PRO 6000, tensor parallel",
        LLMSERVINGSIM,
        {"sequences": 128, "batched_tokens": 2048},
    ),
}
# From data sheets: parameters, layers, bytes per cached token; a 16-bit H100 SXM.
H100 = {"flops": 989e12, "bandwidth": 3.35e12, "memory": 80e9}
SHEETS: dict[str, dict[str, Any]] = {
    "h100-llama-3.1-8b": {"parameters": 8.03e9, "layers": 32, "kv_bytes_per_token": 131_072},
    "h100-qwen2.5-3b": {"parameters": 3.09e9, "layers": 36, "kv_bytes_per_token": 36_864},
}
Row = dict[str, Any]


def main() -> None:
    """Runs the chosen steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="all by default")
    chosen = parser.parse_args().names
    table = DATA / "engines.csv"
    kept = _read(table) if chosen and table.exists() else []
    rows: list[Row] = [row for row in kept if not _is_chosen(str(row["model"]), chosen)]
    for name, step in _steps():
        if _is_chosen(name, chosen):
            rows += step()
            print(f"{name}: done", flush=True)
    rows.sort(key=lambda row: (row["model"], row["fitted_on"], row["judged_on"]))
    _write(table, rows)


def _is_chosen(name: str, chosen: list[str]) -> bool:
    return not chosen or any(part in name for part in chosen)


def _read(table: Path) -> list[Row]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def _steps() -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    for name in FITTED:
        yield name, lambda name=name: _from_logs(name)
    for hardware in ("a100", "h100"):
        for cards in (4, 8):
            name = f"{hardware}x{cards}-llama-2-70b"
            yield name, lambda name=name, h=hardware, c=cards: _from_splitwise(name, h, c)
    yield "smollm2-135m-cpu", _from_dataset
    yield "llama.cpp (not bundled)", _from_sweep


def _from_logs(name: str) -> list[Row]:
    files, served, hardware, source, settings = FITTED[name]
    logs = [read_log(LOGS / f"{file}.jsonl.gz") for file in files]
    result = calibrate(logs, name=name, served_model=served, hardware=hardware, **settings)
    model = result.model.replaced(source=f"{source}; fitted by edgecloud calibrate")
    model.save(ENGINES / f"{name}.json")
    rows = [
        _row(name, row.fitted_on, row.judged_on, row.fitted, row.errors)
        for row in result.judgements
    ]
    if name in SHEETS:
        log = logs[-1]
        derived = EngineModel.from_hardware(
            **SHEETS[name],
            **H100,
            prefill_overhead=1e-3 * SHEETS[name]["layers"],
            **{key: getattr(model, key) for key in ("sequences", "kv_tokens", "prefix_caching")},
        )
        errors = errors_on(derived, Part.whole(log))
        rows.append(_row(name, "nothing: data sheet", log.name, False, errors))
    return rows


def _from_splitwise(name: str, hardware: str, cards: int) -> list[Row]:
    """Takes step times from single prompts and from decoding in batches; judges whole batches."""
    table = pd.read_csv(SHARED / "splitwise_perf_model.csv.gz")
    table = table[
        (table.model == "llama2-70b")
        & (table.hardware == f"{hardware}-80gb")
        & (table.tensor_parallel == cards)
        & (table.token_size == 128)
    ]
    median = table.groupby(["prompt_size", "batch_size"])[
        ["prompt_time", "token_time", "e2e_time"]
    ].median()
    median = median / 1000
    reading = median.xs(1, level="batch_size").prompt_time
    decoding = median.loc[512].token_time
    longer = median.xs(1, level="batch_size").token_time
    context = max(0.0, float(np.polyfit(longer.index, longer.to_numpy(), 1)[0]))
    # What the context costs is no part of the curve: prompts of 512, answers half written.
    points = [(float(n), float(t) - context * n * (512 + 64)) for n, t in decoding.items()]
    points += [(float(n), float(t)) for n, t in reading.items() if n > 128]
    times = np.maximum.accumulate([time for _, time in points])  # noise apart, it never falls
    curve = tuple(
        (tokens, round(float(time), 6)) for (tokens, _), time in zip(points, times, strict=True)
    )
    model = EngineModel(
        step_overhead=0.0,
        step_floor=0.0,
        token_time=0.0,
        context_time=float(f"{context:.4g}"),
        step_times=curve,
        sequences=64,
        batched_tokens=2048,
        # 0.9 of the memory less 138 GB of weights, 327,680 bytes a token.
        kv_tokens=int((0.9 * cards * 80e9 - 138e9) / 327_680),
        name=name,
        served_model="Llama-2-70B",
        hardware=f"{cards} {hardware.upper()} 80GB, tensor parallel",
        source=SPLITWISE,
    )
    rows = []
    for (prompt, batch), real in median.iterrows():
        if prompt == 512 and batch > 1:
            whole = model.replaced(batched_tokens=1 << 20)
            run = simulate_engine(whole, np.zeros(batch), [prompt] * batch, [128] * batch)
            e2e = float(run.finish.mean() / real.e2e_time - 1)
            ttft = float(run.first_token.mean() / real.prompt_time - 1)
            tpot = float((run.finish - run.first_token).mean() / 127 / real.token_time - 1)
            errors = {"e2e_mean": e2e, "e2e_mape": abs(e2e), "ttft_mean": ttft, "tpot_mean": tpot}
            on = f"{batch} prompts of {prompt} at once, 128 tokens each"
            rows.append(_row(name, "single prompts, decoding by batch", on, False, errors))
    worst = {
        key: max((row[key] / 100 for row in rows), key=abs)
        for key in ("e2e_mean", "e2e_mape", "ttft_mean", "tpot_mean")
    }
    _save(model, worst, rows, ["batches of decoding with prompts of 512 tokens were fitted"])
    return rows


def _from_dataset() -> list[Row]:
    """Takes step times from the bundled dataset: its batch curve, its prompts one at a time."""
    dataset = load_dataset("smollm2-135m")
    folder = ENGINES.parent / "smollm2-135m"
    curve = pd.read_json(folder / "slowdown.json", typ="series")
    table = pd.read_parquet(folder / "requests.parquet")
    table = table[table.output_token_count > 1]
    odd = np.arange(len(table)) % 2 == 0
    prompts = table.input_token_count.to_numpy()
    first = table.time_to_first_token.to_numpy()
    edges = np.quantile(prompts[odd], (0, 0.34, 0.67, 1))
    further = table.output_token_count.to_numpy() - 1
    step = (table.inference_time - table.time_to_first_token).to_numpy() / further
    behind = prompts + (further + 1) / 2
    context = max(0.0, float(np.polyfit(behind[odd], step[odd], 1, w=further[odd] ** 0.5)[0]))
    points = [
        (float(n), float(t) - context * n * curve.context_length)
        for n, t in zip(curve.batch_sizes, curve.step_time, strict=True)
    ]
    for low, high in itertools.pairwise(edges):
        inside = odd & (prompts >= low) & (prompts <= high)
        tokens = float(np.median(prompts[inside]))
        if tokens > points[-1][0]:
            points.append((tokens, float(np.median(first[inside]))))
    times = np.maximum.accumulate([time for _, time in points])
    model = EngineModel(
        step_overhead=0.0,
        step_floor=0.0,
        token_time=0.0,
        context_time=float(f"{context:.4g}"),
        step_times=tuple(
            (tokens, round(float(time), 6)) for (tokens, _), time in zip(points, times, strict=True)
        ),
        sequences=16,
        lookahead=False,
        name="smollm2-135m-cpu",
        served_model="SmolLM2-135M-Instruct",
        hardware="two cores of a Xeon, float32, transformers",
        source=f"The bundled dataset {dataset.name}: its batch curve and its prompts one at a time",
    )
    rest = table[~odd]
    sent = np.arange(len(rest)) * 1000.0
    output = rest.output_token_count.to_numpy()
    run = simulate_engine(model, sent, rest.input_token_count.to_numpy(), output)
    unknown = np.full(len(rest), np.nan)
    total, start = rest.inference_time.to_numpy(), rest.time_to_first_token.to_numpy()
    real = Times(total, start, unknown, total - start)
    made = Times(run.finish - sent, run.first_token - sent, unknown, run.finish - run.first_token)
    errors = relative_errors(real, made, output)
    rows = [
        _row(
            model.name,
            "batch curve, prompts of odd rows",
            "even rows, one at a time",
            False,
            errors,
        )
    ]
    notes = ["several at a time: the curve alone, as measured; no log tests it"]
    _save(model, errors, rows, notes)
    return rows


def _from_sweep() -> list[Row]:
    log = read_log(LLAMA_CPP)
    result = calibrate([log], sweep=LLAMA_CPP_CURVE, sequences=4, lookahead=False)
    return [
        _row(
            "llama.cpp (not bundled)",
            "nothing: curve as measured",
            row.judged_on,
            False,
            row.errors,
        )
        for row in result.judgements
    ]


def _save(model: EngineModel, errors: dict[str, float], rows: list[Row], notes: list[str]) -> None:
    model.replaced(
        errors={key: round(value, 5) for key, value in errors.items()},
        intervals=dict.fromkeys(TIMES),
        judged={"rows": [_relative(row) for row in rows], "notes": notes},
    ).save(ENGINES / f"{model.name}.json")


def _relative(row: Row) -> Row:
    """Returns what a model's file says of a row: errors as they are, not in %."""
    numbers = {key: round(row[key] / 100, 5) for key in ERRORS if row[key] is not None}
    return {key: row[key] for key in ("fitted_on", "judged_on", "fitted")} | numbers


def _row(name: str, fitted_on: str, judged_on: str, fitted: bool, errors: Any) -> Row:
    """Returns a row of the table; errors in %."""
    shown = {key: round(100 * errors[key], 2) if key in errors else None for key in ERRORS}
    what = {"model": name, "fitted_on": fitted_on, "judged_on": judged_on, "fitted": fitted}
    return what | shown


def _write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ("model", "fitted_on", "judged_on", "fitted", *ERRORS), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
