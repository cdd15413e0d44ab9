"""The profiler's backend for a model in this process."""

from __future__ import annotations

from typing import Any

import torch
from jinja2 import TemplateError

from data_tools.backends.base import (
    WARM_UP_PROMPT,
    WARM_UP_RUNS,
    WARM_UP_TOKENS,
    DecodeMode,
    LocalConfiguration,
    Measurement,
    ModelUnavailableError,
)
from data_tools.backends.decode_modes import choose_decoding, say_why
from data_tools.backends.decoding import Generation
from data_tools.backends.models import (
    LoadedModel,
    is_out_of_memory,
    release_memory,
)
from data_tools.machine import library_versions
from edgecloud_gym.checks import check_integer
from edgecloud_gym.wording import shown


class LocalBackend:
    """Measures greedy answers of a loaded model at batch size 1.

    Args:
        name: Model name for the rows and the file name.
        loaded: The model.
        max_new_tokens: Cap on an answer's length, >= 1.
        chat: Whether to wrap prompts in the model's chat template, if it has one.
        decode: How to decode; see `choose_decoding`. Where a graph was wanted and cannot be had, a
            warning says why.

    Attributes:
        decoding: How it is decoded.

    Raises:
        ValueError: If ``max_new_tokens`` is below 1, or ``decode`` is unknown.
    """

    def __init__(
        self,
        name: str,
        loaded: LoadedModel,
        *,
        max_new_tokens: int,
        chat: bool = True,
        decode: DecodeMode = "auto",
    ) -> None:
        self.name = name
        self.device = str(loaded.device)
        self._loaded = loaded
        self._max_new_tokens = check_integer("max_new_tokens", max_new_tokens, least=1)
        self._chat = chat and bool(loaded.tokenizer.chat_template)
        self.decoding, reason = choose_decoding(loaded, decode)
        say_why(name, self.decoding, reason)

    @property
    def configuration(self) -> dict[str, Any]:
        """What the numbers depend on."""
        model = self._loaded.model
        return LocalConfiguration(
            model=self.name,
            source=self._loaded.source,
            revision=self._loaded.revision,
            dtype=str(model.dtype).removeprefix("torch."),
            attention=model.config._attn_implementation,
            device=self.device,
            hardware=self._loaded.hardware,
            threads=torch.get_num_threads(),
            decode=None if self.decoding.mode == "eager" else self.decoding.mode,
            compiled=self.decoding.compiled or None,
            max_new_tokens=self._max_new_tokens,
            chat_template=self._chat,
            generation=self._loaded.generation_settings,
            **library_versions(),
        ).to_json()

    def warm_up(self) -> None:
        """Decodes a few tokens a few times: caches, memory pools and kernels settle.

        Raises:
            ModelUnavailableError: If the tokenizer makes no tokens of a plain sentence.
        """
        # Without the chat template, which may refuse a prompt of its own.
        try:
            prompt_ids = self._tokenize(WARM_UP_PROMPT, special_tokens=True)
        except ValueError as error:
            raise ModelUnavailableError(
                f"model {shown(self.name)}: its tokenizer makes no tokens of {WARM_UP_PROMPT!r}; "
                "is it the model's own?"
            ) from error
        for _ in range(WARM_UP_RUNS):
            self.decoding.greedy_decode(prompt_ids, WARM_UP_TOKENS)

    def measure(self, prompt: str) -> Measurement:
        """Answers one prompt greedily.

        Returns:
            The measurement; running out of memory, a prompt that the chat template refuses, that
            cannot be tokenised or does not fit the context are errors of this prompt and come back
            as such.
        """
        try:
            prompt_ids = self._encode(prompt)
        except TemplateError as error:
            return Measurement(error=f"chat template: {error}")
        except (ValueError, TypeError, UnicodeError) as error:
            return Measurement(error=f"tokenisation: {error}")
        length = prompt_ids.shape[1]
        room = self._room_for_answer(length)
        if room < 1:
            message = f"{length} tokens fill the context of {self._loaded.context_length}"
            return Measurement(input_token_count=length, error=f"too long: {message}")
        try:
            generation = self.decoding.greedy_decode(prompt_ids, room)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed = Measurement(input_token_count=length, error=f"out of memory: {error}")
        else:
            return self._measured(generation, length)
        release_memory(self._loaded.device)  # out here the error no longer holds what ran
        return failed

    def _measured(self, generation: Generation, length: int) -> Measurement:
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
        if not self._chat:
            return self._tokenize(prompt, special_tokens=True)
        message = [{"role": "user", "content": prompt}]
        wrapped = self._loaded.tokenizer.apply_chat_template(
            message, tokenize=False, add_generation_prompt=True
        )
        return self._tokenize(wrapped, special_tokens=False)  # the template writes them itself

    def _tokenize(self, text: str, *, special_tokens: bool) -> torch.Tensor:
        encoded = self._loaded.tokenizer(
            text, return_tensors="pt", add_special_tokens=special_tokens
        )
        if encoded.input_ids.shape[1] == 0:
            raise ValueError("the prompt has no tokens")
        input_ids: torch.Tensor = encoded.input_ids
        return input_ids.to(self._loaded.device)
