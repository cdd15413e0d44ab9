"""Calling compiled functions by their address, from compiled code.

So that one compiled loop serves every rule, and neither the rules nor the simulator are compiled
again for it. Numba's own first-class functions do that as well, at 2 ms for each time that one is
handed over: it unpickles its signature.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def address_of(compiled: Any) -> int:
    """Returns where the machine code of one of a dispatcher's overloads is."""
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address


@intrinsic
def call(_: Any, address: Any, arguments: Any) -> Any:
    """Calls the function at an address, which returns nothing, with a tuple of arguments.

    Nothing checks that it was compiled for these types.
    """
    kinds = tuple(types.unliteral(kind) for kind in arguments)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        del signature
        place, packed = values
        convention = context.call_conv
        kind = convention.get_function_type(types.none, kinds).as_pointer()
        function = builder.inttoptr(place, kind)
        status, _ = convention.call_function(
            builder, function, types.none, kinds, cgutils.unpack_tuple(builder, packed)
        )
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(address, arguments), generate
