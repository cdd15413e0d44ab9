"""Checks of the profiler on a GPU; on a CPU, with tiny shapes, of the checks themselves.

    python -m tests.gpu.checks --device cuda

Weights are random: times do not depend on them, and nothing is fetched.
"""

import argparse
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from data_tools.backends.decode_modes import EagerDecoding, choose_decoding
from data_tools.backends.graphs import FixedDecoding
from data_tools.backends.limits import measure_limits
from data_tools.backends.models import LoadedModel, load_model
from data_tools.backends.rounding import parted_by_rounding
from data_tools.profiling.local_sweep import continue_sweep
from data_tools.profiling.profiler import profile_models
from data_tools.profiling.run_file import read_rows
from data_tools.profiling.slowdown import measure_slowdown

PROMPTS = [f"word{i} word{i + 1} word{i + 2}" for i in range(24)]


@dataclass(frozen=True)
class Shape:
    """A model by its shape, and what is asked of it.

    Attributes:
        name: For the table.
        config: Its configuration.
        most: Longest step of one sequence that will do, s; None where it is not judged.
    """

    name: str
    config: PretrainedConfig
    most: float | None


def shapes(device: str) -> list[Shape]:
    """Returns the models of the issue on a GPU, a tiny one on a CPU."""
    common = {"vocab_size": 512, "bos_token_id": None, "eos_token_id": 1}
    if device == "cpu":
        tiny = LlamaConfig(
            **common, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=512, initializer_range=0.5,
        )  # fmt: skip
        return [Shape("tiny", tiny, None)]
    small = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    large = Qwen2Config(
        vocab_size=151936, hidden_size=2048, intermediate_size=11008, num_hidden_layers=36,
        num_attention_heads=16, num_key_value_heads=2, max_position_embeddings=32768,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=1, use_sliding_window=False,
    )  # fmt: skip
    return [Shape("SmolLM2-135M", small, 2e-3), Shape("Qwen2.5-3B", large, 4e-3)]


def tokenizer() -> PreTrainedTokenizerFast:
    """Returns a tokenizer of words."""
    words = {"<unk>": 0, "</s>": 1} | {f"word{i}": i + 2 for i in range(100)}
    fast = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=fast, unk_token="<unk>", eos_token="</s>")


def build(shape: Shape, device: str, dtype: torch.dtype) -> LoadedModel:
    """Makes a model of random weights where it will run."""
    where = torch.device(device, 0) if device == "cuda" else torch.device(device)
    torch.manual_seed(0)
    with where:
        model = AutoModelForCausalLM.from_config(shape.config, dtype=dtype).eval()
    return LoadedModel(model, tokenizer(), shape.name, "random", where)


class Table:
    """Lines of checks; prints each as it comes."""

    def __init__(self) -> None:
        self.failed = 0

    def add(self, what: str, good: bool | None, said: str) -> None:
        """Adds a line; None is a figure that is not judged."""
        mark = "-" if good is None else "ok" if good else "FAILED"
        self.failed += good is False
        print(f"{mark:6s} {what:42s} {said}", flush=True)

    def attempt(self, what: str, check: Callable[[], tuple[bool | None, str]]) -> None:
        """Adds a line of a check that may raise."""
        try:
            self.add(what, *check())
        except (RuntimeError, OSError, ValueError, AssertionError, MemoryError) as error:
            self.add(what, False, f"{type(error).__name__}: {error}".splitlines()[0])


def fixed_of(loaded: LoadedModel) -> FixedDecoding:
    """Returns decoding with a fixed cache: captured on a GPU, as it is on a CPU."""
    if loaded.device.type == "cpu":
        return FixedDecoding(loaded, capture=False)
    decoding, reason = choose_decoding(loaded, "auto")
    assert isinstance(decoding, FixedDecoding), reason
    return decoding


def check_tokens(shape: Shape, device: str, dtype: torch.dtype) -> tuple[bool, str]:
    """Graph tokens equal eager's; in bfloat16 they may part within rounding."""
    loaded = build(shape, device, dtype)
    eager, fixed = EagerDecoding(loaded), fixed_of(loaded)
    equal, parted = 0, 0
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(2, 100, (1, 12 + 9 * seed), generator=generator).to(loaded.device)
        one = eager.greedy_decode(ids, 48).tokens
        other = fixed.greedy_decode(ids, 48).tokens
        equal += one == other
        parted += one != other and parted_by_rounding(loaded, ids, one, other)
    good = equal == 6 if dtype == torch.float32 else equal + parted == 6
    return good, f"{equal} of 6 answers equal, {parted} part within rounding"


def check_times(shape: Shape, device: str, table: Table) -> None:
    """Steps beside the floor, eager decoding and the device's own time."""
    loaded = build(shape, device, torch.bfloat16)
    eager = measure_limits(loaded, EagerDecoding(loaded))
    begin = time.monotonic()
    decoding = fixed_of(loaded)
    fixed = measure_limits(loaded, decoding)
    told = f"{time.monotonic() - begin:.0f} s until the first step"
    table.add(f"{shape.name}: layers compiled", decoding.compiled or device == "cpu", told)
    quick = None if shape.most is None else fixed.step <= shape.most
    table.add(f"{shape.name}: a step of one sequence", quick, fixed.verdict())
    table.add(f"{shape.name}: eagerly", None, eager.verdict())
    ratio = eager.step / fixed.step
    on_gpu = device == "cuda"
    table.add(f"{shape.name}: faster than eager", ratio >= 5 if on_gpu else None, f"{ratio:.1f} x")
    share = fixed.device_share
    if share is not None:
        table.add(f"{shape.name}: share of device time", share >= 0.8, f"{share:.0%}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.json"
        sizes, lengths = (1, 4, 16), (64, 256)
        file = continue_sweep(path, loaded, decoding, sizes, lengths, {}, {}, show_progress=False)
    steps = {(m.concurrency, m.asked): m.step for m in file.rounds}
    told = ", ".join(
        f"{n} x {k}: {1e3 * (steps[n, k] or 0):.2f} ms" for n in sizes for k in lengths
    )
    table.add(f"{shape.name}: steps by size and context", len(steps) == 6, told)


def check_memory_of_batches(shape: Shape, device: str) -> tuple[bool, str]:
    """A batch that does not fit is named; the sizes below it are measured."""
    loaded = build(shape, device, torch.bfloat16)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        curve = measure_slowdown(
            loaded, (1, 2, 1 << 22), context_length=64, steps=2, repeats=1, show_progress=False,
            decoding=fixed_of(loaded),
        )  # fmt: skip
    named = any("does not fit the memory" in str(warning.message) for warning in said)
    return named and curve.batch_sizes == (1, 2), f"measured {curve.batch_sizes}"


def check_memory_of_loading(folder: Path) -> tuple[bool, str]:
    """A model that does not fit raises MemoryError and names itself."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        load_model(str(folder), device="cuda")
    except MemoryError as error:
        return "does not fit the memory" in str(error), str(error)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return False, "it was loaded"


def check_two_in_a_row(folder: Path, device: str) -> tuple[bool, str]:
    """Two models one after the other; the first one's memory is free for the second."""
    names = {"first": str(folder), "second": str(folder)}
    with tempfile.TemporaryDirectory() as out:
        paths = profile_models(
            names, PROMPTS[:4], out, device=device, max_new_tokens=16, batch_sizes=(1, 2),
            show_progress=False,
        )  # fmt: skip
        rows = [read_rows(path) for path in paths]
    gc.collect()
    good = all(len(found) == 4 and not any(row["error"] for row in found) for found in rows)
    left = torch.cuda.memory_allocated() / 2**20 if device == "cuda" else 0.0
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 2**20
    said = f"{[len(found) for found in rows]} rows, {left:.0f} MiB left of {weights:.0f}"
    return good and left < weights, said


def check_resumption(folder: Path, device: str) -> tuple[bool, str]:
    """Interrupted by Ctrl-C, the same command goes on, and nothing is measured twice."""
    with tempfile.TemporaryDirectory() as out:
        prompts = Path(out) / "prompts.txt"
        prompts.write_text("\n".join(PROMPTS))
        code = "from edgecloud_command import main; main()"
        options = ["-m", f"m={folder}", "--device", device, "--max-new-tokens", "64"]
        command = [sys.executable, "-c", code, "profile", str(prompts), *options, "-o", out]
        rows = Path(out) / "inference_data_m.jsonl"
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while run.poll() is None and time.monotonic() < deadline:
            if rows.exists() and rows.read_bytes().count(b"\n") >= 2:
                break
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGINT)
        code_of_first = run.wait(60)
        before = rows.read_bytes()
        subprocess.run(command, check=True, capture_output=True)
        after = rows.read_bytes()
        found = [row["request_text"] for row in read_rows(rows)]
    good = found == PROMPTS and after.startswith(before[: before.rfind(b"\n") + 1])
    done = before.count(b"\n")
    return good, f"{done} rows, then {len(found)}; exit code {code_of_first}"


def main(arguments: list[str] | None = None) -> int:
    """Runs all checks and returns how many failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    device = parser.parse_args(arguments).device
    begin = time.monotonic()
    table = Table()
    name = torch.cuda.get_device_name(0) if device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}")
    models_ = shapes(device)
    for dtype in (torch.float32, torch.bfloat16):
        label = f"{models_[0].name}: tokens in {str(dtype).removeprefix('torch.')}"
        table.attempt(label, lambda dtype=dtype: check_tokens(models_[0], device, dtype))
    for shape in models_:
        try:
            check_times(shape, device, table)
        except (RuntimeError, ValueError, AssertionError, MemoryError) as error:
            table.add(f"{shape.name}: times", False, str(error).splitlines()[0])
    with tempfile.TemporaryDirectory() as folder:
        small = build(models_[0], device, torch.bfloat16)
        small.model.save_pretrained(folder)
        small.tokenizer.save_pretrained(folder)
        del small
        where = Path(folder)
        if device == "cuda":
            table.attempt(
                "a batch that does not fit", lambda: check_memory_of_batches(models_[0], device)
            )
            table.attempt("a model that does not fit", lambda: check_memory_of_loading(where))
        table.attempt("two models in a row", lambda: check_two_in_a_row(where, device))
        table.attempt("interrupted and resumed", lambda: check_resumption(where, device))
    print(f"{table.failed} failed, {time.monotonic() - begin:.0f} s")
    return table.failed


if __name__ == "__main__":
    sys.exit(bool(main()))
