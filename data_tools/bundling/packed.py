"""A BERT for one prompt at a time, or a few: what waits at a gateway, on one core of a CPU.

Batches of so few prompts of unequal length are half padding, and much of their time goes by between
operations and in laying out matrices as they are multiplied. Here prompts lie one behind the other,
without padding, matrices are laid out once, and they are in bfloat16 where the processor multiplies
such numbers; vectors are then at least 0.9999 alike. Processor time per prompt of the bundled
dataset, alone and eight at a time, on one core of a shared and busy EPYC (Zen 4), best of several
turns: 14.5 and 11.6 ms by `Embedder`; here 8.7 and 4.9 ms in float32, 12.7 and 5.8 ms if matrices
were laid out at every call; 5.8 and 3.0 ms in bfloat16, in place of 8.4 and 3.3. That is near what
the arithmetic takes at all: 0.38 GFLOP for 18 tokens, 4.0 ms of nothing but float32 products on a
core that is not shared, 2.0 ms of those in bfloat16.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from data_tools.bundling.embed import MAX_TOKENS, Embedder

_FAST: Final = ("avx512_bf16", "amx_bf16")  # processors that multiply bfloat16


class PackedEmbedder(Embedder):
    """An `Embedder` on the CPU for few prompts at a time.

    Args:
        model: As of `Embedder`; a BERT.
        max_tokens: As of `Embedder`.
        dtype: Of the matrices; None takes bfloat16 where the processor multiplies such numbers, and
            else float32.

    Raises:
        ModelUnavailableError: If the model cannot be found or fetched.
        ValueError: If it is no BERT with absolute positions and GELU.
    """

    def __init__(
        self, model: Any = None, *, max_tokens: int = MAX_TOKENS, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(model, device="cpu", max_tokens=max_tokens)
        config = self._model.config
        if (config.model_type, config.hidden_act) != ("bert", "gelu"):
            raise ValueError(
                f"model {self.name!r} is a {config.model_type} with {config.hidden_act}: must be a "
                "BERT with GELU"
            )
        self._packed = _Bert.of(self._model, dtype or _fast_dtype())
        del self._model  # its matrices are kept once

    def _forward(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            states = torch.split(self._packed(tokens), [len(ids) for ids in tokens])
            pooled = [s[0] if self.pooling == "cls" else s.mean(dim=0) for s in states]
            vectors: NDArray[np.float32] = torch.stack(pooled).numpy()
        return vectors


def _fast_dtype() -> torch.dtype:
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if any(known.get(name) for name in _FAST) else torch.float32


class _Linear:
    """A linear map whose matrix lies as oneDNN multiplies it: else it is laid out at every call.

    Args:
        weight: The matrix (out, in), in the format to multiply in.
        bias: Its bias (out,), of the same format.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._dtype = weight.dtype
        self._packed = _packs(weight.dtype)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._packed else weight
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the map of (n, in), in the format of the matrix."""
        return self._map(x.to(self._dtype), "none")

    def gelu(self, x: Tensor) -> Tensor:
        """Returns the GELU of the map, without a pass of its own where that can be."""
        return self._map(x.to(self._dtype), "gelu")

    def _map(self, x: Tensor, then: str) -> Tensor:
        if self._packed:  # what compiled models of PyTorch call
            found: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self._weight, self._bias, then, [], "none"
            )
            return found
        found = functional.linear(x, self._weight, self._bias)
        return functional.gelu(found) if then == "gelu" else found


def _packs(dtype: torch.dtype) -> bool:
    """Returns whether oneDNN is there and multiplies such numbers."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Norm(NamedTuple):
    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class _Layer(NamedTuple):
    """One layer; ``inner`` makes queries, keys and values at once."""

    inner: _Linear
    outer: _Linear
    norm: _Norm
    wide: _Linear
    narrow: _Linear
    last_norm: _Norm
    heads: int

    def __call__(self, x: Tensor, lengths: list[int]) -> Tensor:
        """Returns the states (tokens, d) of prompts that lie one behind the other."""
        inner = self.inner(x).float()
        if len(lengths) == 1:
            seen = self._attend(inner)
        else:
            seen = torch.cat([self._attend(part) for part in torch.split(inner, lengths)])
        x = self.norm(self.outer(seen).float() + x)
        return self.last_norm(self.narrow(self.wide.gelu(x)).float() + x)

    def _attend(self, part: Tensor) -> Tensor:
        """Lets the tokens of a prompt (n, 3 d) look at each other."""
        parts = part.view(1, len(part), 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts)
        return seen.transpose(1, 2).reshape(len(part), -1)


class _Bert(NamedTuple):
    """The weights of a BERT as they are multiplied."""

    words: Tensor
    positions: Tensor
    norm: _Norm
    layers: list[_Layer]

    @classmethod
    def of(cls, model: Any, dtype: torch.dtype) -> _Bert:
        """Takes them from a model of Transformers, its matrices as ``dtype``."""
        state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        config = model.config

        def linear(*names: str) -> _Linear:
            parts = [
                torch.cat([state[f"{n}.{kind}"] for n in names]) for kind in ("weight", "bias")
            ]
            return _Linear(*(part.to(dtype) for part in parts))

        def norm(name: str) -> _Norm:
            return _Norm(state[f"{name}.weight"], state[f"{name}.bias"], config.layer_norm_eps)

        def layer(name: str) -> _Layer:
            attention = f"{name}.attention"
            return _Layer(
                linear(*(f"{attention}.self.{part}" for part in ("query", "key", "value"))),
                linear(f"{attention}.output.dense"),
                norm(f"{attention}.output.LayerNorm"),
                linear(f"{name}.intermediate.dense"),
                linear(f"{name}.output.dense"),
                norm(f"{name}.output.LayerNorm"),
                config.num_attention_heads,
            )

        first_kind = state["embeddings.token_type_embeddings.weight"][0]
        return cls(
            state["embeddings.word_embeddings.weight"],
            state["embeddings.position_embeddings.weight"] + first_kind,
            norm("embeddings.LayerNorm"),
            [layer(f"encoder.layer.{k}") for k in range(config.num_hidden_layers)],
        )

    def __call__(self, tokens: list[list[int]]) -> Tensor:
        """Returns the last states (all tokens, d) of prompts, one behind the other."""
        lengths = [len(ids) for ids in tokens]
        ids = torch.tensor([token for prompt in tokens for token in prompt])
        places = torch.cat([torch.arange(length) for length in lengths])
        x = self.norm(self.words[ids] + self.positions[places])
        for layer in self.layers:
            x = layer(x, lengths)
        return x
