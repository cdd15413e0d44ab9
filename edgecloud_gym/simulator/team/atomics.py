"""What threads in compiled code meet with: atomic operations, and locks that know no Python.

All order memory as seen by everybody (sequentially consistent): what was written before is seen
by who sees the result.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from edgecloud_gym.simulator.compiled.inlining import inlined

_ORDER: Final = "seq_cst"


def _item(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    made = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, made, [place])


@intrinsic
def add(_: Any, array: Any, place: Any, value: Any) -> Any:
    """Adds to ``array[place]``, int64; returns what was there before."""
    del place, value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view, at, amount = arguments
        item = _item(context, builder, signature.args[0], view, at)
        return builder.atomic_rmw("add", item, amount, _ORDER)

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def swap(_: Any, array: Any, place: Any, expected: Any, value: Any) -> Any:
    """Puts ``value`` where ``array[place]``, int64, is ``expected``; returns whether it was."""
    del place, expected, value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view, at, before, after = arguments
        item = _item(context, builder, signature.args[0], view, at)
        result = builder.cmpxchg(item, before, after, _ORDER, _ORDER)
        return builder.extract_value(result, 1)

    return types.boolean(array, types.intp, types.int64, types.int64), generate


@inlined
def read(array, place):
    """Returns ``array[place]`` as it is now, whoever wrote it."""
    return add(array, place, 0)


@intrinsic
def address_of(_: Any, value: Any) -> Any:
    """Returns where a copy of a value lies, until the function that asks returns."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        copy = cgutils.alloca_once_value(builder, arguments[0])
        return builder.ptrtoint(copy, context.get_value_type(types.int64))

    return types.int64(value), generate


@intrinsic
def value_at(_: Any, address: Any, like: Any) -> Any:
    """Returns the value at an address, which is of the type of ``like``."""
    del address

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        return builder.load(builder.inttoptr(arguments[0], kind.as_pointer()))

    return like(types.int64, like), generate


@intrinsic
def call_c(_: Any, address: Any, arguments: Any) -> Any:
    """Calls the C function at an address with integers or pointers; what it returns is dropped."""
    del address

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        del signature
        word = ir.IntType(64)
        packed = cgutils.unpack_tuple(builder, values[1])
        kind = ir.FunctionType(word, [word] * len(packed)).as_pointer()
        builder.call(builder.inttoptr(values[0], kind), packed)
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, len(arguments))), generate
