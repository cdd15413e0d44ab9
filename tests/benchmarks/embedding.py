"""How much faster the embedder is than embedding one prompt at a time.

Both run the same model on the same device in turns, and each is counted at its best of a few
rounds. One at a time means what a program does that embeds requests as they arrive: tokenise
one prompt, one forward pass, pool, copy to NumPy.

    python tests/benchmarks/embedding.py --prompts 1000 --rounds 3
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers.utils import logging

from data_tools.bundling.embed import Embedder
from data_tools.prompts.sources import load_prompts


def one_at_a_time(embedder: Embedder, prompts: list[str]) -> np.ndarray:
    tokenizer, model = embedder._tokenizer, embedder._model
    vectors = []
    with torch.inference_mode():
        for prompt in prompts:
            limits = {"truncation": True, "max_length": embedder.max_tokens}
            batch = tokenizer(prompt, return_tensors="pt", **limits).to(embedder.device)
            states = model(**batch).last_hidden_state[0]
            pooled = states[0] if embedder.pooling == "cls" else states.mean(dim=0)
            vectors.append(pooled.cpu().numpy())
    return np.stack(vectors)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="directory or hub id; by default the packaged one")
    parser.add_argument("--source", default="builtin", help="prompts, as for edgecloud profile")
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--alone", type=int, default=200, help="prompts to embed one at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-tokens", type=int)
    arguments = parser.parse_args()
    logging.disable_progress_bar()

    embedder = Embedder(
        arguments.model, device=arguments.device, batch_tokens=arguments.batch_tokens
    )
    prompts = load_prompts(arguments.source, limit=arguments.prompts)
    sample = prompts[:: max(1, len(prompts) // arguments.alone)]
    alone = one_at_a_time(embedder, sample)  # warms up, too
    difference = np.abs(alone - embedder.encode(sample).vectors).max()

    single, batched = [], []
    for _ in range(arguments.rounds):
        single.append(len(sample) / seconds(lambda: one_at_a_time(embedder, sample)))
        batched.append(len(prompts) / seconds(lambda: embedder.encode(prompts)))
    lengths = [len(ids) for ids in embedder._tokenizer(prompts)["input_ids"]]
    result = {
        "model": embedder.name,
        "device": str(embedder.device),
        "threads": torch.get_num_threads(),
        "prompts": len(prompts),
        "distinct": len(set(prompts)),
        "mean_tokens": round(float(np.mean(lengths)), 1),
        "one_at_a_time_per_s": round(max(single), 1),
        "batched_per_s": round(max(batched), 1),
        "ratio": round(max(batched) / max(single), 2),
        "ratio_by_round": [round(b / a, 2) for a, b in zip(single, batched, strict=True)],
        "largest_difference": float(difference),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
