"""Values of any length, and what is said of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

MANY = 20_000
LONG: dict[str, Any] = {
    "text": "x" * MANY,
    "list": list(range(-5, MANY)),
    "names": [f"name {k}" for k in range(MANY)],
    "array": np.full(MANY, np.nan),
    "table": np.full((300, 300), np.inf),
    "mapping": {f"key {k}": k for k in range(MANY)},
    "digits": 10**MANY,
    "nested": [[["x" * MANY] * 9] * 9] * 9,
}
ALLOWED = 1_500  # characters: what is allowed takes most of them


def refusal(call: Callable[..., object], *values: Any, **settings: Any) -> str:
    """Returns the message of what a call refuses; nothing if it refuses nothing."""
    try:
        call(*values, **settings)
    except (TypeError, ValueError) as error:
        return str(error)
    except OSError:  # of a path that is too long, in the words of the system
        pass
    return ""
