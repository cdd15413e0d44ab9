"""The profiler's backend for a model in this process."""

from __future__ import annotations

from typing import Any

import torch

from data_tools.backends.base import Measurement
from data_tools.backends.decoding import greedy_decode
from data_tools.backends.models import LoadedModel
from data_tools.machine import library_versions

_WARM_UP_PROMPT = "Count from one to ten."
_WARM_UP_TOKENS = 8
_WARM_UP_RUNS = 3


class LocalBackend:
    """Measures greedy answers of a loaded model at batch size 1.

    Args:
        name: Model name for the rows and the file name.
        loaded: The model.
        max_new_tokens: Cap on an answer's length, >= 1.
        chat: Whether to wrap prompts in the model's chat template, if it has one.

    Raises:
        ValueError: If ``max_new_tokens`` is not positive.
    """

    def __init__(
        self, name: str, loaded: LoadedModel, *, max_new_tokens: int, chat: bool = True
    ) -> None:
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        self.name = name
        self.device = str(loaded.device)
        self._loaded = loaded
        self._max_new_tokens = max_new_tokens
        self._chat = chat and bool(loaded.tokenizer.chat_template)

    @property
    def configuration(self) -> dict[str, Any]:
        """What the numbers depend on."""
        model = self._loaded.model
        return {
            "model": self.name,
            "source": self._loaded.source,
            "revision": self._loaded.revision,
            "dtype": str(model.dtype).removeprefix("torch."),
            "attention": model.config._attn_implementation,
            "device": self.device,
            "hardware": self._loaded.hardware,
            "threads": torch.get_num_threads(),
            "max_new_tokens": self._max_new_tokens,
            "chat_template": self._chat,
            **library_versions(),
        }

    def warm_up(self) -> None:
        """Decodes a few tokens a few times: caches, memory pools and kernels settle."""
        for _ in range(_WARM_UP_RUNS):
            greedy_decode(self._loaded, self._encode(_WARM_UP_PROMPT), _WARM_UP_TOKENS)

    def measure(self, prompt: str) -> Measurement:
        """Answers one prompt greedily.

        Returns:
            The measurement; running out of memory, a prompt that cannot be tokenised and one that
            does not fit the context are errors of this prompt and come back as such.
        """
        try:
            prompt_ids = self._encode(prompt)
        except (ValueError, TypeError, UnicodeError) as error:
            return Measurement(error=f"tokenisation: {error}")
        length = prompt_ids.shape[1]
        room = self._room_for_answer(length)
        if room < 1:
            message = f"{length} tokens fill the context of {self._loaded.context_length}"
            return Measurement(input_token_count=length, error=f"too long: {message}")
        try:
            generation = greedy_decode(self._loaded, prompt_ids, room)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if self._loaded.device.type == "cuda":
                torch.cuda.empty_cache()
            return Measurement(input_token_count=length, error=f"out of memory: {error}")
        return Measurement(
            response_text=self._loaded.tokenizer.decode(
                generation.tokens, skip_special_tokens=True
            ),
            inference_time=generation.inference_time,
            input_token_count=length,
            output_token_count=len(generation.tokens),
            time_to_first_token=generation.time_to_first_token,
            device_time=generation.device_time,
            finish_reason=generation.finish_reason,
        )

    def _room_for_answer(self, prompt_length: int) -> int:
        """Returns how many tokens an answer may have: the cap, or what the context leaves."""
        limit = self._loaded.context_length
        if limit is None:
            return self._max_new_tokens
        return min(self._max_new_tokens, limit - prompt_length)

    def _encode(self, prompt: str) -> torch.Tensor:
        """Returns the prompt's (1, length) token ids on the model's device."""
        tokenizer = self._loaded.tokenizer
        if self._chat:
            message = [{"role": "user", "content": prompt}]
            prompt = tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True
            )
        # The template writes the special tokens itself.
        encoded = tokenizer(prompt, return_tensors="pt", add_special_tokens=not self._chat)
        if encoded.input_ids.shape[1] == 0:
            raise ValueError("the prompt has no tokens")
        input_ids: torch.Tensor = encoded.input_ids
        return input_ids.to(self._loaded.device)


def _is_out_of_memory(error: Exception) -> bool:
    """Tells torch's and Python's out-of-memory errors from defects."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error)  # the CPU allocator raises a bare RuntimeError
