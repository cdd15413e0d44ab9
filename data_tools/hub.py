"""Finding out at once whether the Hugging Face hub can be asked for something."""

from __future__ import annotations

from typing import Final, Literal

from edgecloud_gym.wording import shown

Kind = Literal["model", "dataset"]

_SMALL_FILE: Final[dict[Kind, str]] = {"model": "config.json", "dataset": "README.md"}


def require_on_hub(name: str, kind: Kind, revision: str | None = None) -> None:
    """Fetches one small file of a model or a dataset, unless it is in the cache.

    transformers and datasets do so themselves, but where the hub cannot be reached they try for
    half a minute and say so a dozen times.

    Args:
        name: The hub id.
        kind: What it names.
        revision: Branch, tag or commit.

    Raises:
        ConnectionError: If it is not in the cache and cannot be fetched, with the reason.
    """
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            name, repo_type=kind, revision=revision, allow_patterns=[_SMALL_FILE[kind]]
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(
            f"{kind} {shown(name)} could not be fetched from the Hugging Face hub ({reason})"
        ) from error
