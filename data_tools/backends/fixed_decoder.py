"""One decoding step, and a prefill, in tensors that stay where they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import torch

from data_tools.backends.fusing import fixed_cache, fused_layers
from data_tools.backends.models import LoadedModel

if TYPE_CHECKING:
    from data_tools.backends.devices import Graph

WARM_UPS: Final = 3  # steps before a capture, as PyTorch asks for
MOST_PREFILLS: Final = 16  # captured prefills kept at a time


class FixedDecoder:
    """Decodes n sequences of one length, step by step, in tensors that stay where they are.

    Args:
        loaded: A model that `graphs.why_not` has nothing against.
        sequences: How many, n.
        capacity: Tokens that the cache holds for each.
        capture: Whether step and prefills are captured as CUDA graphs; else they run as they are.
        backend: Backend of `torch.compile` for the layers of a step; None leaves them as they are.

    Attributes:
        token: int64 (n, 1), the tokens of the latest step.
        busy: Device time of each step since the prefill, s; empty where it is not captured.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        sequences: int,
        capacity: int,
        *,
        capture: bool,
        backend: str | Callable[..., Any] | None = None,
    ) -> None:
        self._loaded = loaded
        self._model = loaded.model
        self._backend = backend
        self.capacity = capacity
        self.token = torch.zeros((sequences, 1), dtype=torch.int64, device=loaded.device)
        self._position = torch.zeros(1, dtype=torch.int64, device=loaded.device)
        self._cache = fixed_cache(loaded.text_config, capacity, self._position)
        names = inspect.signature(self._model.forward).parameters
        self._takes_positions = "position_ids" in names
        self._takes_last = "logits_to_keep" in names
        self._captures = capture
        self._graph: Graph | None = None
        self._prefills: dict[int, tuple[torch.Tensor, Graph]] = {}

    @property
    def busy(self) -> list[float]:
        """Device time of each replayed step, s."""
        return [] if self._graph is None else self._graph.busy

    @torch.inference_mode()
    def prepare(self) -> None:
        """Allocates the cache and captures the step, so that neither falls into a measurement."""
        ids = torch.zeros((len(self.token), 2), dtype=torch.int64, device=self._loaded.device)
        self.clear()
        self._read(ids)
        if self._captures and self._graph is None:
            self._graph = self._captured(self._step, WARM_UPS)

    @torch.inference_mode()
    def prepare_prefill(self, prompts: torch.Tensor) -> None:
        """Captures the prefill of prompts (n, length) as long as these, if it is not yet."""
        length = prompts.shape[1]
        if not self._captures or length in self._prefills:
            return
        while len(self._prefills) >= MOST_PREFILLS:
            self._prefills.pop(next(iter(self._prefills)))
        kept = prompts.clone()
        self.clear()
        self._prefills[length] = kept, self._captured(lambda: self._read(kept), 1)

    @torch.inference_mode()
    def clear(self) -> None:
        """Empties the cache, before another prefill."""
        self._cache.reset()
        self._position.zero_()
        if self._graph is not None:
            self._graph.forget()

    @torch.inference_mode()
    def prefill(self, prompts: torch.Tensor) -> None:
        """Reads the prompts (n, length) and leaves the first tokens in ``token``."""
        captured = self._prefills.get(prompts.shape[1])
        if captured is None:
            self._read(prompts)
            return
        kept, graph = captured
        kept.copy_(prompts)
        graph.forget()
        graph.replay()

    @torch.inference_mode()
    def step(self) -> None:
        """Computes the next tokens."""
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def _captured(self, function: Callable[[], None], warm_ups: int) -> Graph:
        from data_tools.backends.devices import Graph

        pool = None if self._graph is None else self._graph.pool  # they never run side by side
        return Graph(function, self._loaded.device, warm_ups=warm_ups, pool=pool)

    def _read(self, prompts: torch.Tensor) -> None:
        length = prompts.shape[1]
        positions = torch.arange(length, device=prompts.device)[None]
        self._forward(prompts, positions)
        self._position.fill_(length)

    def _step(self) -> None:
        with self._fused():
            self._forward(self.token, self._position[None])
        self._position.add_(1)

    def _fused(self) -> AbstractContextManager[None]:
        if self._backend is None:
            return nullcontext()
        return fused_layers(self._model, self._cache, self._backend, len(self.token))

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> None:
        more: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        if self._takes_last:
            more["logits_to_keep"] = 1
        output = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, **more)
        self.token.copy_(output.logits[:, -1].argmax(-1, keepdim=True))
