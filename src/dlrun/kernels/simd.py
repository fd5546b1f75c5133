"""Vectors of float32 for code compiled by numba: arithmetic on all lanes at once, as it is written.

LLVM can also make vectors of plain loops, but whether it does changed from version to version (the
LSTM's backward took 35 ms by numba 0.61 and 56 ms by 0.68; written with these, 12 ms by both), and
it needs `fastmath` for sums. Nothing is reordered here: same inputs, same bits; NaN stays NaN.

numba keeps compiled code until the file that uses it changes; after a change of this file, delete
`__pycache__`.
"""

# mypy: disable-error-code="no-untyped-call"

import operator
from collections.abc import Callable
from typing import Any, cast

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, Signature, infer_global, signature
from numba.extending import intrinsic, register_model
from numba.np.arrayobj import make_array

# A vector fills a register of AVX-512, or one of AVX2; elsewhere LLVM takes several registers.
LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
FLOATS = ir.VectorType(ir.FloatType(), LANES)
INTEGERS = ir.VectorType(ir.IntType(32), LANES)
UNALIGNED = 4  # bytes: where a float may lie

Lowering = tuple[Signature, Callable[..., Any]]


class Vector(types.Type):
    """LANES numbers, float32."""

    def __init__(self) -> None:
        super().__init__(f"float32x{LANES}")


VECTOR = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):
    """A register."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, FLOATS)


def _operator(function: Callable[..., Any], instruction: str) -> None:
    """`function` of two vectors is LLVM's `instruction`."""

    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, arguments: Any, _: Any) -> Signature | None:
            return signature(VECTOR, VECTOR, VECTOR) if arguments == (VECTOR, VECTOR) else None

    def lower(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        return getattr(builder, instruction)(*arguments)

    lower_builtin(function, VECTOR, VECTOR)(lower)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_function, _instruction)


def _intrinsic(function: Callable[..., Lowering]) -> Callable[..., Any]:
    """A function for compiled code; `function` gives its types and writes its instructions."""
    return cast(Callable[..., Any], intrinsic(function))


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    first = make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(first, [index]), FLOATS.as_pointer())


def _spread(builder: Any, number: Any) -> Any:
    unset = ir.Constant(FLOATS, ir.Undefined)
    first = builder.insert_element(unset, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, unset, ir.Constant(INTEGERS, [0] * LANES))


@_intrinsic
def load(_: Any, array: Any, index: Any) -> Lowering:
    """LANES numbers of a contiguous array, from `array.ravel()[index]` on."""

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], *arguments)
        return builder.load(pointer, align=UNALIGNED)

    return VECTOR(array, types.intp), lower


@_intrinsic
def store(_: Any, array: Any, index: Any, vector: Any) -> Lowering:
    """`array.ravel()[index : index + LANES] = vector`; the array must be contiguous."""

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=UNALIGNED)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), lower


@_intrinsic
def spread(_: Any, number: Any) -> Lowering:
    """The float32 `number` in every lane."""

    def lower(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return VECTOR(types.float32), lower


@_intrinsic
def fma(_: Any, a: Any, b: Any, c: Any) -> Lowering:
    """`a * b + c`, rounded once."""

    def lower(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
        name = f"llvm.fma.v{LANES}f32"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    return VECTOR(VECTOR, VECTOR, VECTOR), lower


@_intrinsic
def clip(_: Any, vector: Any, limit: Any) -> Lowering:
    """Numbers beyond -limit .. limit become these; NaN stays."""

    def lower(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        vector, limit = arguments
        high, low = _spread(builder, limit), _spread(builder, builder.fneg(limit))
        above = builder.fcmp_ordered(">", vector, high)
        below = builder.fcmp_ordered("<", vector, low)
        return builder.select(above, high, builder.select(below, low, vector))

    return VECTOR(VECTOR, types.float32), lower


@_intrinsic
def power_of_two(_: Any, vector: Any) -> Lowering:
    """`2.0 ** n`, -126 <= n <= 127, where `vector` is `1.5 * 2**23 + n`: its last bits are n."""

    def lower(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], INTEGERS)
        exponent = builder.shl(bits, ir.Constant(INTEGERS, [23] * LANES))
        one = ir.Constant(INTEGERS, [0x3F800000] * LANES)
        return builder.bitcast(builder.add(exponent, one), FLOATS)

    return VECTOR(VECTOR), lower
