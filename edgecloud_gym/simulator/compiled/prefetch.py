"""A prefetch instruction for compiled code.

With many lanes, each lane's next request lies in memory of its own, which no cache holds any more
and no hardware prefetcher foresees. To ask for it a few lanes ahead made steps of 1,024 lanes 5 to
10 % faster.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTE = ir.IntType(8).as_pointer()
_WORD = ir.IntType(32)
_TYPE = ir.FunctionType(ir.VoidType(), [_BYTE, _WORD, _WORD, _WORD])
_FLAGS = [_WORD(0), _WORD(3), _WORD(1)]  # for reading, to be kept close, as data


@intrinsic
def prefetch(_: Any, array: Any, row: Any, column: Any) -> Any:
    """Asks for the cache line of ``array[row, column]``, which must exist; does nothing else."""
    del row, column

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, *_ = signature.args
        view, *place = arguments
        made = context.make_array(kind)(context, builder, view)
        item = cgutils.get_item_pointer(context, builder, kind, made, place)
        function = cgutils.get_or_insert_function(builder.module, _TYPE, "llvm.prefetch.p0")
        builder.call(function, [builder.bitcast(item, _BYTE), *_FLAGS])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate
