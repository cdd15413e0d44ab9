"""A matrix product for compiled code, at the machine's own speed for few rows.

Libraries are made for large matrices: for the 32 rows of a training step and the one row of an
arrival, OpenBLAS reaches 58 and torch 85 GFLOP/s on a core that this product drives at 115, because
they copy the weights into another order first. Besides, here each element is one sum, added up in
the order of the depth whatever else is computed beside it: the score of a request does not depend,
not in its last bit, on which others are scored with it.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_LANES: Final = 16  # floats per vector

# The accumulators of a tile stay in registers: AVX-512 has 32 of a whole vector, others fewer.
_VECTORS: Final = 4 if llvm.get_host_cpu_features().get("avx512f") else 1
WIDTH: Final = _VECTORS * _LANES  # columns of a tile; matrices are padded to a multiple of it

_INT = ir.IntType(64)
_ALIGN: Final = 4  # bytes; rows may begin anywhere


def _make_tile(rows: int, wide: int, fresh: bool) -> Any:
    """Makes the product of ``rows`` rows and ``wide`` times `WIDTH` columns.

    Args:
        rows: How many.
        wide: How many widths: a tile of few rows reads the more of a row of the weights at a time.
        fresh: Whether it is written, not added to what is there.
    """
    vectors = wide * _VECTORS
    vector = ir.VectorType(ir.FloatType(), _LANES)
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    places = [(r, v) for r in range(rows) for v in range(vectors)]

    @intrinsic
    def tile(
        _: Any, a: Any, a_at: Any, a_row: Any, a_step: Any, b: Any, b_at: Any, b_step: Any,
        depth: Any, c: Any, c_at: Any, c_row: Any,
    ) -> Any:  # fmt: skip
        """Multiplies a tile: see `add_product`."""
        del a_at, a_row, a_step, b_at, b_step, depth, c_at, c_row
        count = types.intp
        signature = types.void(
            a, count, count, count, b, count, count, count, c, count, count
        )  # fmt: skip

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, a_at, a_row, a_step, _, b_at, b_step, depth, _, c_at, c_row = arguments
            kind = ir.FunctionType(vector, [vector] * 3)
            multiply_add = cgutils.get_or_insert_function(
                builder.module, kind, f"llvm.fma.v{_LANES}f32"
            )

            def begin(argument: int, at: Any) -> Any:
                array = context.make_array(signature.args[argument])
                return builder.gep(array(context, builder, arguments[argument]).data, [at])

            def as_vector(pointer: Any, index: int = 0) -> Any:
                there = builder.gep(pointer, [_INT(index * _LANES)])
                return builder.bitcast(there, vector.as_pointer())

            a_rows = [builder.gep(begin(0, a_at), [builder.mul(a_row, _INT(r))])
                      for r in range(rows)]  # fmt: skip
            c_rows = [builder.gep(begin(8, c_at), [builder.mul(c_row, _INT(r))])
                      for r in range(rows)]  # fmt: skip
            zero = ir.Constant(vector, [0.0] * _LANES)
            sums = [
                zero if fresh else builder.load(as_vector(c_rows[r], v), align=_ALIGN)
                for r, v in places
            ]
            b_first = begin(4, b_at)
            before = builder.block
            head, body, after = (builder.append_basic_block(n) for n in ("head", "body", "after"))
            builder.branch(head)
            builder.position_at_end(head)
            k, a_now = builder.phi(_INT), builder.phi(_INT)
            b_now = builder.phi(b_first.type)
            held = [builder.phi(vector) for _ in places]
            builder.cbranch(builder.icmp_signed("<", k, depth), body, after)
            builder.position_at_end(body)
            columns = [builder.load(as_vector(b_now, v), align=_ALIGN) for v in range(vectors)]
            grown = []
            for r in range(rows):
                factor = builder.load(builder.gep(a_rows[r], [a_now]), align=_ALIGN)
                undefined = ir.Constant(vector, ir.Undefined)
                first = builder.insert_element(undefined, factor, ir.IntType(32)(0))
                spread = builder.shuffle_vector(first, undefined, everywhere)
                for v in range(vectors):
                    total = held[r * vectors + v]
                    grown.append(builder.call(multiply_add, [spread, columns[v], total]))
            following = [
                (k, _INT(0), builder.add(k, _INT(1))),
                (a_now, _INT(0), builder.add(a_now, a_step)),
                (b_now, b_first, builder.gep(b_now, [b_step])),
                *zip(held, sums, grown, strict=True),
            ]
            builder.branch(head)
            for value, start, later in following:
                value.add_incoming(start, before)
                value.add_incoming(later, body)
            builder.position_at_end(after)
            for (r, v), total in zip(places, held, strict=True):
                builder.store(total, as_vector(c_rows[r], v), align=_ALIGN)
            return context.get_dummy_value()

        return signature, generate

    return tile


_called = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _make_product(fresh: bool) -> Any:
    six = _make_tile(6, 1, fresh)
    two, two_wide = _make_tile(2, 1, fresh), _make_tile(2, 2, fresh)
    one, one_wide = _make_tile(1, 1, fresh), _make_tile(1, 4, fresh)

    @_called
    def product(a, a_at, a_row, a_step, b, b_at, b_step, depth, c, c_at, c_row, rows, columns):
        for j in range(0, columns, WIDTH):
            for i in range(0, rows - 5, 6):
                x, z = a_at + i * a_row, c_at + i * c_row + j
                six(a, x, a_row, a_step, b, b_at + j, b_step, depth, c, z, c_row)
        for i in range(rows - rows % 6, rows - 1, 2):
            x, z, j = a_at + i * a_row, c_at + i * c_row, 0
            while j + 2 * WIDTH <= columns:
                two_wide(a, x, a_row, a_step, b, b_at + j, b_step, depth, c, z + j, c_row)
                j += 2 * WIDTH
            if j < columns:
                two(a, x, a_row, a_step, b, b_at + j, b_step, depth, c, z + j, c_row)
        if rows % 2:
            i = rows - 1
            x, z, j = a_at + i * a_row, c_at + i * c_row, 0
            while j + 4 * WIDTH <= columns:
                one_wide(a, x, a_row, a_step, b, b_at + j, b_step, depth, c, z + j, c_row)
                j += 4 * WIDTH
            while j < columns:
                one(a, x, a_row, a_step, b, b_at + j, b_step, depth, c, z + j, c_row)
                j += WIDTH

    return product


# Add to ``c``, or write to it, the product of ``a`` (rows, depth) and ``b`` (depth, columns). All
# three are flat float32. Element (i, k) of ``a`` lies at ``a_at + i a_row + k a_step``, (k, j) of
# ``b`` at ``b_at + k b_step + j``, (i, j) of ``c`` at ``c_at + i c_row + j``. There are a multiple
# of `WIDTH` columns.
add_product = _make_product(fresh=False)
set_product = _make_product(fresh=True)
