"""Vectors of float32 for code compiled by numba: arithmetic on all lanes at once, in source order.

LLVM can also vectorise plain loops, but whether it does depends on its version (the LSTM's backward
took 35 ms with numba 0.61 and 56 ms with 0.68; with these vectors it takes 12 ms with both), and
sums need `fastmath`. Nothing is reordered here: same inputs, same bits; NaN stays NaN.

numba keeps compiled code until the file that uses it changes: after a change of this file, delete
`__pycache__`.
"""

# mypy: disable-error-code="no-untyped-call"

import operator
from collections.abc import Callable
from typing import Any, cast

from llvmlite import binding, ir
from numba import types
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, Signature, infer_global, signature
from numba.extending import intrinsic, register_model
from numba.np.arrayobj import make_array

from dlrun.kernels import llvm

# A vector fills a register of AVX-512, or one of AVX2; elsewhere LLVM takes several registers.
LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
FLOATS = llvm.vector(LANES)
INTEGERS = ir.VectorType(ir.IntType(32), LANES)
UNALIGNED = 4  # bytes: a vector may begin at any float

Lowering = tuple[Signature, Callable[..., Any]]


class Vector(types.Type):
    """numba's type of LANES float32 numbers."""

    def __init__(self) -> None:
        super().__init__(f"float32x{LANES}")


VECTOR = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):
    """A vector is kept in a register."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, FLOATS)


def _define_operator(function: Callable[..., Any], instruction: str) -> None:
    """Teach numba that `function` of two vectors is LLVM's `instruction`."""

    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, arguments: Any, _: Any) -> Signature | None:
            return signature(VECTOR, VECTOR, VECTOR) if arguments == (VECTOR, VECTOR) else None

    def lower(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return getattr(builder, instruction)(*arguments)

    lower_builtin(function, VECTOR, VECTOR)(lower)


_define_operator(operator.add, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")
_define_operator(operator.truediv, "fdiv")


def _intrinsic(function: Callable[..., Lowering]) -> Callable[..., Any]:
    """Make a function for compiled code; `function` gives its types and writes its instructions."""
    return cast(Callable[..., Any], intrinsic(function))


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    first = make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(first, [index]), FLOATS.as_pointer())


@_intrinsic
def load(_: Any, array: Any, index: Any) -> Lowering:
    """Return LANES numbers of a contiguous array, from `array.ravel()[index]` on."""

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        place = _place(context, builder, sig.args[0], *arguments)
        return builder.load(place, align=UNALIGNED)

    return VECTOR(array, types.intp), lower


@_intrinsic
def store(_: Any, array: Any, index: Any, vector: Any) -> Lowering:
    """Do `array.ravel()[index : index + LANES] = vector`; the array must be contiguous."""

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        place = _place(context, builder, sig.args[0], *arguments[:2])
        builder.store(arguments[2], place, align=UNALIGNED)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), lower


@_intrinsic
def broadcast(_: Any, number: Any) -> Lowering:
    """Return the vector with the float32 `number` in every lane."""
    return VECTOR(types.float32), _written_by(_all_lanes)


@_intrinsic
def fma(_: Any, a: Any, b: Any, c: Any) -> Lowering:
    """Return `a * b + c`, rounded once."""
    return VECTOR(VECTOR, VECTOR, VECTOR), _written_by(
        lambda builder, *vectors: llvm.intrinsic(builder, "fma", *vectors)
    )


@_intrinsic
def clip(_: Any, vector: Any, limit: Any) -> Lowering:
    """Return the vector with numbers beyond -limit .. limit replaced by these; NaN stays."""

    def write(builder: Any, vector: Any, limit: Any) -> Any:
        high, low = _all_lanes(builder, limit), _all_lanes(builder, builder.fneg(limit))
        above = builder.fcmp_ordered(">", vector, high)
        below = builder.fcmp_ordered("<", vector, low)
        return builder.select(above, high, builder.select(below, low, vector))

    return VECTOR(VECTOR, types.float32), _written_by(write)


@_intrinsic
def power_of_two(_: Any, vector: Any) -> Lowering:
    """Return `2.0 ** n`, -126 <= n <= 127, of `1.5 * 2**23 + n`: its last bits are n."""

    def write(builder: Any, vector: Any) -> Any:
        exponent = builder.shl(builder.bitcast(vector, INTEGERS), _integers(23))
        return builder.bitcast(builder.add(exponent, _integers(0x3F800000)), FLOATS)

    return VECTOR(VECTOR), _written_by(write)


def _written_by(write: Callable[..., Any]) -> Callable[..., Any]:
    """Return numba's form of a function that writes instructions for some arguments."""
    return lambda _, builder, __, arguments: write(builder, *arguments)


def _all_lanes(builder: Any, number: Any) -> Any:
    return llvm.broadcast(builder, number, LANES)


def _integers(value: int) -> Any:
    return ir.Constant(INTEGERS, [value] * LANES)
