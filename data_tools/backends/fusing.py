"""Layers of a model compiled into few kernels, for a decoding step that is captured.

Eager layers launch some forty small kernels each. Captured in a graph they no longer wait for the
host, but each still takes its microseconds on the device: the step of a model of 135 million
parameters would take 3.3 ms on an H100 that reads the weights in 0.1. `torch.compile` fuses what
lies between the matrix products.

Layers of one class are compiled once, not once each: each is called with its own layer of the
cache, so that its number, which the cache would look it up by, is not part of the code. Attention
stays out of it: compiled, `transformers` copies keys and values for each group of heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, StaticCache
from transformers.cache_utils import StaticLayer
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# Products with one vector become fused kernels, which are tuned; it takes some seconds more.
FOR_ONE_SEQUENCE: Final[dict[str, str | int | bool | Callable[..., Any]]] = {
    "coordinate_descent_tuning": True
}
MOST_VERSIONS: Final = 64  # of a layer's code; beyond them PyTorch would not compile it any more


class FixedLayer(StaticLayer):  # type: ignore[misc]
    """The keys and values of one layer in tensors that stay where they are.

    The static layer of `transformers` counts its tokens itself, with two small kernels a layer and
    step; here all layers share one position.

    Args:
        capacity: Tokens that it holds for each sequence.
        position: int64 (1,), where the next token goes; moved by whoever decodes.
    """

    def __init__(self, capacity: int, position: torch.Tensor) -> None:
        super().__init__(capacity)
        self.position = position

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocates the tensors; their addresses are no part of compiled code."""
        super().lazy_initialization(key_states, value_states)
        for tensor in (self.keys, self.values):
            tensor.__dict__.pop("_dynamo_static_input_type", None)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes a prompt at the beginning, or one token at the position; returns all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = key_states.shape[-2]
        if length > 1:
            self.keys[:, :, :length] = key_states
            self.values[:, :, :length] = value_states
        else:
            self.keys.index_copy_(2, self.position, key_states)
            self.values.index_copy_(2, self.position, value_states)
        return self.keys, self.values

    def get_seq_length(self, *_: Any) -> torch.Tensor | int:
        """Returns how many tokens came before; 0 before the first."""
        return self.position if self.is_initialized else 0


def fixed_cache(config: PreTrainedConfig, capacity: int, position: torch.Tensor) -> StaticCache:
    """Returns a cache whose layers share one position; see `FixedLayer`."""
    cache = StaticCache(config=config, max_cache_len=capacity)
    cache.layers = [FixedLayer(capacity, position) for _ in cache.layers]
    return cache


@contextmanager
def fused_layers(
    model: PreTrainedModel, cache: StaticCache, backend: str | Callable[..., Any], sequences: int
) -> Iterator[None]:
    """Runs a model's decoder layers compiled while the context is open.

    Args:
        model: A model of `transformers`.
        cache: The cache it is called with, of `fixed_cache`.
        backend: Backend of `torch.compile`.
        sequences: How many are decoded side by side.

    Raises:
        RuntimeError: If its layers are not the cache's, one for one.
    """
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if len(layers) != len(cache.layers):
        raise RuntimeError(f"it has {len(layers)} decoder layers, its cache {len(cache.layers)}")
    tuned = backend == "inductor" and sequences == 1
    options = dict(FOR_ONE_SEQUENCE) if tuned else None
    compiled = {
        kind: torch.compile(kind.forward, backend=backend, options=options)
        for kind in {type(layer) for layer in layers}
    }
    added = _AddedMask(model.dtype)
    name = model.config._attn_implementation
    many = torch._dynamo.config.patch(recompile_limit=MOST_VERSIONS)
    with _apart(name), _products_without_bias(), many:
        try:
            for layer, part in zip(layers, cache.layers, strict=True):
                layer.forward = _with_own_cache(compiled[type(layer)], layer, cache, part, added)
            yield
        finally:
            for layer in layers:
                layer.__dict__.pop("forward", None)


def _with_own_cache(
    forward: Callable[..., Any],
    layer: nn.Module,
    cache: StaticCache,
    part: StaticLayer,
    added: _AddedMask,
) -> Callable[..., Any]:
    """Returns a layer's forward pass that is given its part wherever it would be the cache."""

    def call(*inputs: Any, **settings: Any) -> Any:
        own = [part if value is cache else value for value in inputs]
        settings = {name: part if value is cache else value for name, value in settings.items()}
        if "attention_mask" in settings:
            settings["attention_mask"] = added(settings["attention_mask"])
        return forward(layer, *own, **settings)

    return call


class _AddedMask:
    """The mask of a step as numbers to add, made once: attention would make them in each layer."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._mask: torch.Tensor | None = None
        self._numbers: torch.Tensor | None = None

    def __call__(self, mask: torch.Tensor | None) -> torch.Tensor | None:
        if mask is None or mask.dtype != torch.bool:
            return mask
        if mask is not self._mask:
            self._mask = mask
            zeros = torch.zeros_like(mask, dtype=self._dtype)
            self._numbers = zeros.masked_fill_(~mask, -torch.inf)
        return self._numbers


@contextmanager
def _apart(name: str) -> Iterator[None]:
    """Leaves attention of this name out of what is compiled."""
    attention = ALL_ATTENTION_FUNCTIONS.get(name)
    if attention is None:
        yield
        return
    ALL_ATTENTION_FUNCTIONS[name] = torch.compiler.disable(attention)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[name]


def _product_and_sum(layer: nn.Linear, values: torch.Tensor) -> torch.Tensor:
    product = nn.functional.linear(values, layer.weight)
    return product if layer.bias is None else product + layer.bias


@contextmanager
def _products_without_bias() -> Iterator[None]:
    """Computes linear layers as a product and a sum, which fuses where `addmm` does not."""
    whole = nn.Linear.forward
    nn.Linear.forward = _product_and_sum  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        nn.Linear.forward = whole  # type: ignore[method-assign]
