"""A dataset whose times are drawn from the model that the predictor assumes."""

import numpy as np

from edgecloud_gym import RequestDataset

NOISE = 0.3


def drawn(prompts: int, seed: int = 0, spread: float = NOISE) -> RequestDataset:
    """Log times are a smooth function of direction and length, plus noise of a known spread."""
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(prompts, 5))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    tokens = rng.integers(5, 200, prompts)
    smooth = np.sin(2.0 * unit[:, 0]) + unit[:, 1] * unit[:, 2] + 0.4 * np.log1p(tokens)
    logs = smooth - 1.0 + spread * rng.normal(size=prompts)
    answers = np.maximum(1, np.rint(20.0 * np.exp(logs)))
    return RequestDataset.from_arrays(
        base_latency=np.exp(logs),
        embeddings=embeddings,
        prompt_tokens=tokens,
        response_tokens=answers,
    )
