"""Compile functions with numba, and let them compute with SIMD vectors of float32 numbers.

numba's fastmath is off: reordered sums would not be reproducible, and LLVM's vectorised gathers are
slower than scalar loads if they follow scattered stores.

Whether LLVM vectorises plain loops depends on its version: the LSTM's backward took 35 ms with
numba 0.61 and 56 ms with 0.68; with these vectors 12 ms with both. Same inputs give the same bits.

numba keeps compiled code until the file that uses it changes: after a change of this file, delete
`__pycache__`.
"""

# mypy: disable-error-code="no-untyped-call", allow-untyped-decorators

import contextlib
import functools
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar

from llvmlite import binding, ir

from dlrun.kernels import llvm_loops
from dlrun.kernels.llvm_loops import Builder, Value
from dlrun.system.library_imports import outside_working_folder

with outside_working_folder():
    import numba
    import numba.extending
    from numba.core import types
    from numba.core.compiler_lock import global_compiler_lock
    from numba.extending import lower_builtin, models, register_model, type_callable

P = ParamSpec("P")
R = TypeVar("R")
Numba: TypeAlias = Any  # an object of numba's, which has no types of its own

config: Numba = numba.config
intrinsic: Numba = numba.extending.intrinsic  # its own type is that of the Python function


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """Keep `.numba_config.yaml` of the working folder from having an effect in a `with` block.

    numba reads it at each compilation. It can change results, and name the folder of the cache,
    whose pickles run code; here only the user's environment can.
    """
    with global_compiler_lock:  # no thread compiles meanwhile
        before = config.reload_config, config.CACHE_DIR
        config.reload_config = lambda: None
        config.CACHE_DIR = os.environ.get("NUMBA_CACHE_DIR", "")
        try:
            yield
        finally:
            config.reload_config, config.CACHE_DIR = before


def _jit(function: Callable[..., object], *, cache: bool) -> Numba:
    """Make numba's dispatcher of a function, which it compiles for each new types of arguments.

    Raises RuntimeError if there is to be a cache and its folder cannot be written.
    """
    with _own_settings():  # the folder of the cache is chosen here
        compiled: Numba = numba.njit(nogil=True, cache=cache)(function)
    compiled.compile = _own_settings()(compiled.compile)
    return compiled


def jit_inner(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that compiled ones call; it is cached as a part of its callers."""
    compiled: Callable[P, R] = _jit(function, cache=False)
    return compiled


def jit_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call from Python, or load it from numba's cache.

    In an installation that cannot be written there is no cache. A cache that cannot be loaded (a
    power cut leaves empty files) is deleted.
    """
    try:
        compiled = _jit(function, cache=True)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return jit_inner(function)

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
            compiled = jit_inner(function)
            result = compiled(*arguments, **options)
        return result

    return call


# A vector fills two registers of AVX-512, or two of AVX2; elsewhere LLVM takes more registers.
LANES = 32 if binding.get_host_cpu_features().get("avx512f") else 16
FLOATS = ir.VectorType(llvm_loops.FLOAT, LANES)
INTEGERS = ir.VectorType(ir.IntType(32), LANES)


class SimdVectorType(types.Type):
    """Represents the type of a SIMD vector of LANES float32 numbers in code compiled by numba."""


VECTOR = SimdVectorType(f"float32x{LANES}")
register_model(SimdVectorType)(lambda manager, kind: models.PrimitiveModel(manager, kind, FLOATS))


def _define_operator(function: Callable[..., object], instruction: str) -> None:
    """Make numba compile an operator of two vectors to one LLVM instruction."""

    @type_callable(function)
    def type_of(_: Numba) -> Callable[[Numba, Numba], Numba]:
        return lambda a, b: VECTOR if a == b == VECTOR else None

    @lower_builtin(function, VECTOR, VECTOR)
    def write(_: Numba, builder: Builder, __: Numba, vectors: Value) -> Value:
        return getattr(builder, instruction)(*vectors)


_define_operator(operator.add, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")
_define_operator(operator.truediv, "fdiv")


@intrinsic
def vload(_: Numba, array: Numba, index: Numba) -> Numba:
    """Load a SIMD vector: `array.ravel()[index : index + LANES]` of a contiguous array."""

    def write(context: Numba, builder: Builder, _: Numba, arguments: Value) -> Value:
        return builder.load(_address(context, builder, array, *arguments), align=4)

    return VECTOR(array, types.intp), write


@intrinsic
def vstore(_: Numba, array: Numba, index: Numba, vector: Numba) -> Numba:
    """Store a SIMD vector in `array.ravel()[index : index + LANES]` of a contiguous array."""

    def write(context: Numba, builder: Builder, _: Numba, arguments: Value) -> Value:
        *place, value = arguments
        builder.store(value, _address(context, builder, array, *place), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), write


def _array_struct(context: Numba, builder: Builder, kind: Numba, array: Value) -> Value:
    """Take the address and the size of an array, as `data` and `nitems`."""
    return context.make_array(kind)(context, builder, array)


def _address(context: Numba, builder: Builder, kind: Numba, array: Value, index: Value) -> Value:
    first = builder.gep(_array_struct(context, builder, kind, array).data, [index])
    return builder.bitcast(first, FLOATS.as_pointer())


def _broadcast(builder: Builder, number: Value) -> Value:
    return llvm_loops.broadcast(builder, number, LANES)


def _numba_form(write: llvm_loops.Write) -> Callable[..., Value]:
    """Give a function that writes the LLVM code for some arguments the form that numba wants."""
    return lambda _, builder, __, arguments: write(builder, *arguments)


@intrinsic
def broadcast(_: Numba, number: Numba) -> Numba:
    """Make a SIMD vector of LANES elements, each of which is the same float32 number."""
    return VECTOR(types.float32), _numba_form(_broadcast)


@intrinsic
def fma(_: Numba, a: Numba, b: Numba, c: Numba) -> Numba:
    """Compute `a * b + c` of three SIMD vectors, rounded once (fused multiply-add)."""

    def write(builder: Builder, *vectors: Value) -> Value:
        return llvm_loops.call_intrinsic(builder, "fma", *vectors)

    return VECTOR(VECTOR, VECTOR, VECTOR), _numba_form(write)


@intrinsic
def vclip(_: Numba, vector: Numba, limit: Numba) -> Numba:
    """Clip the numbers of a SIMD vector to [-limit, limit]; NaN stays NaN."""

    def write(builder: Builder, vector: Value, limit: Value) -> Value:
        high = _broadcast(builder, limit)
        low = _broadcast(builder, builder.fneg(limit))
        above = builder.fcmp_ordered(">", vector, high)
        below = builder.fcmp_ordered("<", vector, low)
        return builder.select(above, high, builder.select(below, low, vector))

    return VECTOR(VECTOR, types.float32), _numba_form(write)


@intrinsic
def power_of_two_of_shifted(_: Numba, vector: Numba) -> Numba:
    """Compute 2.0 ** n for a SIMD vector of floats 1.5 * 2**23 + n, with n from -126 to 127."""

    def write(builder: Builder, vector: Value) -> Value:
        # The low bits of the vector become the exponent of a float32, whose bias is that of 1.0.
        shift = ir.Constant(INTEGERS, [23] * LANES)
        bits_of_one = ir.Constant(INTEGERS, [0x3F800000] * LANES)
        exponent = builder.shl(builder.bitcast(vector, INTEGERS), shift)
        return builder.bitcast(builder.add(exponent, bits_of_one), FLOATS)

    return VECTOR(VECTOR), _numba_form(write)


ROWS_PER_BLOCK = 16  # the same on every machine, since the order of additions depends on it


def _load_bits(builder: Builder, masks: Value, block: Value) -> Value:
    number = builder.load(builder.gep(masks.data, [block]))
    return builder.bitcast(number, ir.VectorType(ir.IntType(1), ROWS_PER_BLOCK))


@intrinsic
def sum_masked(_: Numba, bits: Numba, values: Numba) -> Numba:
    """Sum, in double precision, the values whose bit in a bit mask is set.

    Number i of `bits`, a uint16, has the bits of `values[ROWS_PER_BLOCK * i :]`.
    """

    def write(context: Numba, builder: Builder, _: Numba, arguments: Value) -> Value:
        masks = _array_struct(context, builder, bits, arguments[0])
        data = _array_struct(context, builder, values, arguments[1]).data
        numbers = llvm_loops.LlvmArray(builder, data, ROWS_PER_BLOCK)
        doubles = ir.VectorType(ir.DoubleType(), ROWS_PER_BLOCK)

        def add(block: Value, sums: Value) -> Value:
            vector = numbers[block]
            zero = ir.Constant(vector.type, None)
            vector = builder.select(_load_bits(builder, masks, block), vector, zero)
            wide = vector if vector.type == doubles else builder.fpext(vector, doubles)
            return builder.fadd(sums, wide)

        zeros = ir.Constant(doubles, None)
        sums = llvm_loops.write_loop(
            builder, llvm_loops.count_constant(0), masks.nitems, add, zeros
        )
        lanes = [ir.Constant(llvm_loops.INT32, lane) for lane in range(ROWS_PER_BLOCK)]
        elements = [builder.extract_element(sums, lane) for lane in lanes]
        return functools.reduce(builder.fadd, elements)

    return types.float64(bits, values), write


@intrinsic
def add_masked(_: Numba, bits: Numba, factor: Numba, values: Numba, sums: Numba) -> Numba:
    """Add `factor` times each value whose bit in a bit mask is set to the same place in `sums`."""

    def write(context: Numba, builder: Builder, _: Numba, arguments: Value) -> Value:
        masks = _array_struct(context, builder, bits, arguments[0])
        factors = llvm_loops.broadcast(builder, arguments[1], ROWS_PER_BLOCK)
        address = _array_struct(context, builder, values, arguments[2]).data
        numbers = llvm_loops.LlvmArray(builder, address, ROWS_PER_BLOCK)
        address = _array_struct(context, builder, sums, arguments[3]).data
        target = llvm_loops.LlvmArray(builder, address, ROWS_PER_BLOCK)

        def add(block: Value) -> None:
            old = target[block]
            new = builder.fadd(old, builder.fmul(factors, numbers[block]))
            target[block] = builder.select(_load_bits(builder, masks, block), new, old)

        llvm_loops.write_loop(builder, llvm_loops.count_constant(0), masks.nitems, add)
        return context.get_dummy_value()

    return types.void(bits, factor, values, sums), write
