"""The decorators of compiled functions that only compiled functions call."""

from __future__ import annotations

import numba

# Without the wrappers with which Python would call them; those unpack every array of every
# argument, and compiling them took a sixth of the time.
compiled = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)

# A lane's `View` is some seventy words, which a call would copy: left to LLVM, which finds these
# functions too large, steps of 1,024 lanes took 1.8 times as long.
inlined = numba.njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# Put in the place of its one call before anything is compiled: each level of calls above the
# engine's code would optimise that code once more.
merged = numba.njit(inline="always")
