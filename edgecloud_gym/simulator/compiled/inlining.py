"""The decorator of functions that are handed a lane's arrays."""

from __future__ import annotations

import numba

# A `View` is some seventy words, which a call would copy: left to LLVM, which finds these functions
# too large, steps of 1,024 lanes took 1.8 times as long.
inlined = numba.njit(forceinline=True)
