"""Loading a causal language model from the hub, a directory or a GGUF file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from data_tools.hub import require_on_hub
from data_tools.machine import processor_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")


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
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return int(limit) if limit is not None else None


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
            f"device={name!r}: must be 'auto', 'cpu', 'cuda', 'cuda:1', ..."
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r}, but torch sees no GPU; use 'cpu' or 'auto'")
    return device


def load_model(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "sdpa",
    revision: str | None = None,
) -> LoadedModel:
    """Loads a causal language model and its tokenizer for inference.

    The weights of a GGUF file are unpacked to dense ones: what is measured is then plain PyTorch,
    whichever optional kernels are installed.

    Args:
        source: Hub id, local directory, or path of a ``.gguf`` file.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        dtype: "float32", "bfloat16", "float16", or "auto": as stored, float32 for a GGUF file.
        attention: Attention backend in transformers' terms: "sdpa", "eager", "flash_attention_2".
        revision: Branch, tag or commit of a hub model.

    Raises:
        ValueError: If ``device`` or ``dtype`` is not available.
        FileNotFoundError: If ``source`` looks like a path and does not exist.
        ConnectionError: If the hub has no such model, or cannot be reached.
        OSError: If the model cannot be loaded, with transformers' explanation.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target = resolve_device(device)
    local = Path(source)
    _require_model(source, revision)
    where: str = source
    options: dict[str, Any] = {"revision": revision} if revision else {}
    model_options: dict[str, Any] = {"attn_implementation": attention, "dtype": _dtype(dtype)}
    if local.suffix == ".gguf":
        from transformers import GgufConfig

        where, options["gguf_file"] = str(local.parent), local.name
        model_options["quantization_config"] = GgufConfig(dequantize=True)
        if dtype == "auto":
            model_options["dtype"] = torch.float32
    tokenizer = AutoTokenizer.from_pretrained(where, **options)
    model = AutoModelForCausalLM.from_pretrained(where, **options, **model_options)
    return LoadedModel(
        model=model.to(target).eval(),
        tokenizer=tokenizer,
        source=local.name if local.exists() else source,
        revision=_local_digest(local) if local.exists() else _hub_commit(model, revision),
        device=target,
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


def _dtype(name: str) -> torch.dtype | str:
    """Returns torch's dtype for a name, or "auto"."""
    allowed: dict[str, torch.dtype | str] = {
        "auto": "auto",
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if name not in allowed:
        raise ValueError(f"dtype must be one of {', '.join(allowed)}; got {name!r}")
    return allowed[name]


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
