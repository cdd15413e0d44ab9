"""Loading a causal language model from the hub, a directory or a GGUF file."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from data_tools.backends.base import ModelUnavailableError
from data_tools.hub import require_on_hub
from data_tools.machine import processor_name
from edgecloud_gym.checks import check_choice
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Generation settings that do not tell greedy answers apart: tokens that are named elsewhere,
# sampling, caps, and what to return.
_NOT_GREEDY: Final = frozenset(
    (
        *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
        *("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p"),
        *("epsilon_cutoff", "eta_cutoff", "num_return_sequences"),
        *("max_length", "max_new_tokens", "use_cache", "transformers_version"),
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
        *("return_dict_in_generate", "_from_model_config"),
    )
)
DTYPES: Final[dict[str, torch.dtype | str]] = {
    "auto": "auto",
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_WEIGHT_SUFFIXES: Final = (".safetensors", ".bin", ".gguf")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to generate, with what identifies it.

    Attributes:
        model: In evaluation mode, on ``device``.
        tokenizer: The model's own tokenizer.
        source: Hub id, or the name of the local file or directory (no path).
        revision: Hub commit, or a digest of the local weights.
        device: Where the model lives, as in "cpu" or "cuda:0".
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: str
    revision: str
    device: torch.device

    @property
    def hardware(self) -> str:
        """Name of the processor or accelerator that computes."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return processor_name()

    @property
    def stop_tokens(self) -> frozenset[int]:
        """Token ids that end an answer, as the model's generation settings name them."""
        configured = self.model.generation_config.eos_token_id
        if configured is None:
            configured = self.tokenizer.eos_token_id
        if configured is None:
            return frozenset()
        return frozenset([configured] if isinstance(configured, int) else configured)

    @property
    def context_length(self) -> int | None:
        """Most tokens that prompt and answer may have together; None if the model sets no limit."""
        limit = getattr(self.text_config, "max_position_embeddings", None)
        return int(limit) if limit is not None else None

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids that the model knows."""
        return int(self.text_config.vocab_size)

    @property
    def text_config(self) -> Any:
        """Configuration of the part that reads and writes text; a multimodal model has others."""
        return self.model.config.get_text_config()

    @property
    def generation_settings(self) -> dict[str, Any] | None:
        """The model's own generation settings that shape a greedy answer; None without any."""
        stated = self.model.generation_config.to_diff_dict()
        shaping = {name: value for name, value in stated.items() if name not in _NOT_GREEDY}
        return shaping or None


def resolve_device(name: str) -> torch.device:
    """Returns the device for a name; "auto" is the first GPU if there is one, else the CPU.

    Raises:
        ValueError: If torch knows no such device, or a GPU is asked for and none is usable.
    """
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"device={shown(name)}: must be 'auto', 'cpu', 'cuda', 'cuda:1', ..."
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={shown(name)}: must be 'cpu' or 'auto', as torch sees no GPU")
    return device


def load_model(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    revision: str | None = None,
) -> LoadedModel:
    """Loads a causal language model and its tokenizer for inference.

    The weights of a GGUF file are unpacked to dense ones: what is measured is then plain PyTorch,
    whichever optional kernels are installed.

    Args:
        source: Hub id, local directory, or path of a ``.gguf`` file.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        dtype: "float32", "bfloat16", "float16", or "auto": as stored, float32 for a GGUF file.
        attention: Attention backend in transformers' terms ("sdpa", "eager", "flash_attention_2"),
            or "auto": what transformers takes for the model.
        revision: Branch, tag or commit of a hub model.

    Raises:
        ValueError: If ``device`` or ``dtype`` is not available.
        FileNotFoundError: If ``source`` looks like a path and does not exist.
        ConnectionError: If the hub has no such model, or cannot be reached.
        ModelUnavailableError: If the model cannot be loaded, or is no causal language model with
            all its weights; names it, with transformers' explanation.
        MemoryError: If it does not fit the device.
    """
    target = resolve_device(device)
    local = Path(source)
    _require_model(source, revision)
    where: str = source
    options: dict[str, Any] = {"revision": revision} if revision else {}
    model_options: dict[str, Any] = {"dtype": _dtype(dtype)}
    if attention != "auto":
        model_options["attn_implementation"] = attention
    if local.suffix == ".gguf":
        from transformers import GgufConfig

        where, options["gguf_file"] = str(local.parent), local.name
        model_options["quantization_config"] = GgufConfig(dequantize=True)
        if dtype == "auto":
            model_options["dtype"] = torch.float32
    tokenizer, model = _load(source, where, options, model_options)
    _require_causal(source, model)
    try:
        model = model.to(target).eval()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            f"model {shown(source)} does not fit the memory of {target}; a smaller one or bfloat16 "
            "would"
        ) from error
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        source=local.name if local.exists() else source,
        revision=_local_digest(local) if local.exists() else _hub_commit(model, revision),
        device=target,
    )


def _load(
    source: str, where: str, options: dict[str, Any], model_options: dict[str, Any]
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with naming_the_model(source):
        config = AutoConfig.from_pretrained(where, **options)
        if type(config) not in AutoModelForCausalLM._model_mapping or config.is_encoder_decoder:
            raise ValueError(f"{shown(config.model_type)} is no causal language model")
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        model, loading = AutoModelForCausalLM.from_pretrained(
            where, **options, **model_options, output_loading_info=True
        )
    if missing := sorted(loading["missing_keys"]):
        raise ModelUnavailableError(
            f"model {shown(source)} lacks weights of a causal language model, such as "
            f"{missing[0]}: its answers would be random"
        )
    return tokenizer, model


@contextmanager
def naming_the_model(source: str, fault: str = "cannot be loaded") -> Iterator[None]:
    """Turns what transformers raises about a model's files, which are the user's, into one error.

    Args:
        source: The model's name.
        fault: What it cannot do.

    Raises:
        ModelUnavailableError: With the model's name and the first line of the explanation.
    """
    from safetensors import SafetensorError

    kinds = (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError, RuntimeError)
    try:
        yield
    except Exception as error:
        bare = type(error) is Exception  # as the tokenizers library raises them
        if not (bare or isinstance(error, (*kinds, SafetensorError))) or is_out_of_memory(error):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelUnavailableError(f"model {shown(source)} {fault}: {reason[0]}") from error


@torch.inference_mode()
def _require_causal(source: str, model: PreTrainedModel) -> None:
    """Raises if the model's first prediction depends on what comes after.

    transformers loads BERT and its kin as causal models too, and only logs what that leads to.
    """
    one, other = (
        model.eval()(input_ids=torch.tensor([[1, last]])).logits[0, 0].float() for last in (1, 2)
    )
    if (one - other).abs().max() > 1e-2 * (one.max() - one.min()):  # more than rounding
        raise ModelUnavailableError(
            f"model {shown(source)} is no causal language model: it reads what comes after a token"
        )


def _require_model(source: str, revision: str | None) -> None:
    """Raises what `load_model` does for a model that is neither here nor on the hub."""
    local = Path(source)
    if local.exists():
        return
    if local.suffix == ".gguf" or local.is_absolute() or source.startswith((".", "~")):
        raise FileNotFoundError(f"model {source} does not exist")
    try:
        require_on_hub(source, "model", revision)
    except ConnectionError as error:
        message = f"{error}; give a local directory or a .gguf file instead"
        raise ConnectionError(message) from error


def is_out_of_memory(error: Exception) -> bool:
    """Tells torch's and Python's out-of-memory errors from defects."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator and CUDA's libraries raise a bare RuntimeError.
    signs = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return any(sign in str(error) for sign in signs)


def release_memory(device: torch.device) -> None:
    """Gives back what a computation held that ran out of memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _dtype(name: str) -> torch.dtype | str:
    """Returns torch's dtype for a name, or "auto"."""
    return DTYPES[check_choice("dtype", name, tuple(DTYPES))]


def _hub_commit(model: PreTrainedModel, revision: str | None) -> str:
    """Returns the commit that the hub served, as far as transformers knows it."""
    return getattr(model.config, "_commit_hash", None) or revision or "unknown"


def _local_digest(path: Path) -> str:
    """Returns a SHA-256 over the weight files' contents: it changes when the weights do."""
    files = (
        [path]
        if path.is_file()
        else sorted(file for file in path.iterdir() if file.suffix in _WEIGHT_SUFFIXES)
    )
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return "sha256:" + digest.hexdigest()[:16]
