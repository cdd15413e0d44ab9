"""What the user may choose of an embedding, in a module that loads nothing."""

from typing import Literal

Pooling = Literal["cls", "mean"]
Precision = Literal["float16", "float32"]
