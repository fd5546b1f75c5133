"""Compile functions by numba, and give them vectors of float32 numbers (SIMD).

There is no fastmath: reordered sums would not be reproducible, and LLVM's vectorised gathers are
slower than scalar loads if they follow scattered stores.

LLVM can vectorise plain loops too, but whether it does depends on its version (the LSTM's backward
took 35 ms with numba 0.61 and 56 ms with 0.68; with these vectors it takes 12 ms with both). Their
arithmetic is done on all lanes at once, in source order: same inputs, same bits; NaN stays NaN.

numba keeps compiled code until the file that uses it changes: after a change of this file, delete
`__pycache__`.
"""

# mypy: disable-error-code="no-untyped-call"

import contextlib
import functools
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numba
from llvmlite import binding, ir
from numba import types
from numba.core.datamodel import models
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, register_model
from numba.np.arrayobj import make_array

from dlrun.kernels import llvm
from dlrun.kernels.llvm import Builder, Value

P = ParamSpec("P")
R = TypeVar("R")
Numba: TypeAlias = Any  # an object of numba's, which has no types of its own


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that only other compiled functions call; it is cached as part of them."""
    compiled: Callable[P, R] = numba.njit(nogil=True)(function)
    return compiled


def jit_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call from Python, or load it from numba's cache.

    If the cache cannot be loaded or written (a power cut leaves empty files, a disk is full), the
    cache of the function's file is deleted and this process compiles the function for itself.
    """
    try:
        compiled: Numba = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return jit(function)

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        nonlocal compiled
        try:
            result: R = compiled(*arguments, **options)
        except Exception:  # a damaged file can raise anything; the kernels themselves raise nothing
            module = Path(function.__code__.co_filename).stem
            for file in Path(compiled.stats.cache_path).glob(f"{module}.*.nb[ic]"):
                with contextlib.suppress(OSError):
                    file.unlink()
            compiled = jit(function)
            result = compiled(*arguments, **options)
        return result

    return call


# A vector fills a register of AVX-512, or one of AVX2; elsewhere LLVM takes several registers.
LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
FLOATS = llvm.vector_type(LANES)
INTEGERS = ir.VectorType(ir.IntType(32), LANES)
UNALIGNED = 4  # bytes: a vector may begin at any float


class Vector(types.Type):
    """Is numba's type of a vector of LANES float32 numbers."""

    def __init__(self) -> None:
        super().__init__(f"float32x{LANES}")


VECTOR = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):
    """Makes numba keep a vector in a register."""

    def __init__(self, manager: Numba, kind: Vector) -> None:
        super().__init__(manager, kind, FLOATS)


def _define_operator(function: Callable[..., object], instruction: str) -> None:
    """Make numba compile an operator of two vectors to one LLVM instruction."""

    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, arguments: Numba, _: Numba) -> Numba:
            return signature(VECTOR, VECTOR, VECTOR) if arguments == (VECTOR, VECTOR) else None

    def lower(_: Numba, builder: Builder, __: Numba, arguments: Value) -> Value:
        return getattr(builder, instruction)(*arguments)

    lower_builtin(function, VECTOR, VECTOR)(lower)


_define_operator(operator.add, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")
_define_operator(operator.truediv, "fdiv")


def _intrinsic(function: Callable[..., Numba]) -> Callable[..., Numba]:
    """Make a numba intrinsic of a function that gives its types and writes its instructions."""
    made: Callable[..., Numba] = intrinsic(function)
    return made


@_intrinsic
def vload(_: Numba, array: Numba, index: Numba) -> Numba:
    """Load a vector of LANES numbers from a contiguous array, from `array.ravel()[index]` on."""

    def lower(context: Numba, builder: Builder, sig: Numba, arguments: Value) -> Value:
        place = _place(context, builder, sig.args[0], *arguments)
        return builder.load(place, align=UNALIGNED)

    return VECTOR(array, types.intp), lower


@_intrinsic
def vstore(_: Numba, array: Numba, index: Numba, vector: Numba) -> Numba:
    """Store a vector in a contiguous array: `array.ravel()[index : index + LANES] = vector`."""

    def lower(context: Numba, builder: Builder, sig: Numba, arguments: Value) -> Value:
        place = _place(context, builder, sig.args[0], *arguments[:2])
        builder.store(arguments[2], place, align=UNALIGNED)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), lower


def _place(context: Numba, builder: Builder, kind: Numba, array: Value, index: Value) -> Value:
    first = make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(first, [index]), FLOATS.as_pointer())


def _written_by(write: llvm.Write) -> Callable[..., Value]:
    """Return numba's form of a function that writes instructions for some arguments."""
    return lambda _, builder, __, arguments: write(builder, *arguments)


def _all_lanes(builder: Builder, number: Value) -> Value:
    return llvm.broadcast(builder, number, LANES)


@_intrinsic
def broadcast(_: Numba, number: Numba) -> Numba:
    """Return a vector with the same float32 number in every lane."""
    return VECTOR(types.float32), _written_by(_all_lanes)


@_intrinsic
def fma(_: Numba, a: Numba, b: Numba, c: Numba) -> Numba:
    """Return `a * b + c` of three vectors, rounded once."""
    return VECTOR(VECTOR, VECTOR, VECTOR), _written_by(
        lambda builder, *vectors: llvm.call_intrinsic(builder, "fma", *vectors)
    )


@_intrinsic
def clip(_: Numba, vector: Numba, limit: Numba) -> Numba:
    """Return a vector with its numbers limited to -limit .. limit; NaN stays NaN."""

    def write(builder: Builder, vector: Value, limit: Value) -> Value:
        high, low = _all_lanes(builder, limit), _all_lanes(builder, builder.fneg(limit))
        above = builder.fcmp_ordered(">", vector, high)
        below = builder.fcmp_ordered("<", vector, low)
        return builder.select(above, high, builder.select(below, low, vector))

    return VECTOR(VECTOR, types.float32), _written_by(write)


@_intrinsic
def power_of_two(_: Numba, vector: Numba) -> Numba:
    """Return a vector of `2.0 ** n`, -126 <= n <= 127, from one of `1.5 * 2**23 + n`."""

    def write(builder: Builder, vector: Value) -> Value:
        shift, one = (ir.Constant(INTEGERS, [bits] * LANES) for bits in (23, 0x3F800000))
        exponent = builder.shl(builder.bitcast(vector, INTEGERS), shift)
        return builder.bitcast(builder.add(exponent, one), FLOATS)

    return VECTOR(VECTOR), _written_by(write)
