"""Loops over arrays, written as LLVM's instructions by llvmlite, which numba is built on.

numba compiles plain loops too, but costs a process 0.3 s and 110 MB to import where llvmlite costs
0.04 s and 70 MB; torch's own operators need 70 % more time for an epoch of imdb-dense. Importing
this module raises ImportError or OSError if llvmlite does not work on this machine.
"""

import ctypes
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

import llvmlite.binding as llvm
from llvmlite import ir

COUNT = ir.IntType(64)
INT32 = ir.IntType(32)
FLOAT = ir.FloatType()
COUNTS, INT32S, FLOATS = COUNT.as_pointer(), INT32.as_pointer(), FLOAT.as_pointer()  # addresses

Builder: TypeAlias = Any  # an ir.IRBuilder, which writes one instruction after another; no stubs
Value: TypeAlias = Any  # the result of an instruction


def function(arguments: Sequence[ir.Type], write: Callable[..., None]) -> Callable[..., None]:
    """Compile a function without a result for this machine.

    Nothing is checked when it is called: arrays are given as addresses.

    Args:
        arguments: COUNT, FLOAT, or one of the addresses above, for each argument.
        write: writes the function's instructions; gets a Builder and the arguments.
    """
    module = ir.Module()
    written = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "function")
    builder = ir.IRBuilder(written.append_basic_block())
    write(builder, *written.args)
    builder.ret_void()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    kinds: dict[ir.Type, Any] = {COUNT: ctypes.c_int64, FLOAT: ctypes.c_float}
    prototype = ctypes.CFUNCTYPE(None, *(kinds.get(kind, ctypes.c_void_p) for kind in arguments))
    call: Any = prototype(engine.get_function_address("function"))
    call.engine = engine  # owns the machine code
    compiled: Callable[..., None] = call
    return compiled


class Loop:
    """`for index in range(start, stop)`: the body is what is written in the `with` block.

    The body may assign `value`, which begins as `initial` and is kept from one pass to the next.
    """

    def __init__(
        self, builder: Builder, start: Value | int, stop: Value, initial: Value | None = None
    ) -> None:
        self._builder = builder
        before, self._head = builder.block, builder.append_basic_block("head")
        body, self._after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.branch(self._head)
        builder.position_at_end(self._head)
        first = ir.Constant(COUNT, start) if isinstance(start, int) else start
        self.index = builder.phi(COUNT)
        self.index.add_incoming(first, before)
        self.value = self._kept = None
        if initial is not None:
            self.value = self._kept = builder.phi(initial.type)
            self._kept.add_incoming(initial, before)
        builder.cbranch(builder.icmp_signed("<", self.index, stop), body, self._after)
        builder.position_at_end(body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        builder = self._builder
        following = builder.add(self.index, ir.Constant(COUNT, 1))
        self.index.add_incoming(following, builder.block)
        if self._kept is not None:
            self._kept.add_incoming(self.value, builder.block)
            self.value = self._kept
        builder.branch(self._head)
        builder.position_at_end(self._after)


class Array:
    """An array of numbers, or of vectors of `lanes` floats side by side; int32 is read as COUNT."""

    def __init__(self, builder: Builder, address: Value, lanes: int = 0) -> None:
        self._builder, self._address, self._lanes = builder, address, lanes

    def __getitem__(self, index: Value) -> Value:
        element = self._builder.load(self._place(index), align=4)
        return self._builder.sext(element, COUNT) if element.type == INT32 else element

    def __setitem__(self, index: Value, value: Value) -> None:
        self._builder.store(value, self._place(index), align=4)

    def _place(self, index: Value) -> Value:
        if not self._lanes:
            return self._builder.gep(self._address, [index])
        first = self._builder.mul(index, ir.Constant(COUNT, self._lanes))
        place = self._builder.gep(self._address, [first])
        return self._builder.bitcast(place, vector(self._lanes).as_pointer())


def vector(lanes: int) -> ir.Type:
    """Return the type of so many floats at once, which LLVM maps to registers."""
    return ir.VectorType(FLOAT, lanes)


def broadcast(builder: Builder, number: Value, lanes: int) -> Value:
    """Return the vector with the same float in every lane."""
    unset = ir.Constant(vector(lanes), ir.Undefined)
    first = builder.insert_element(unset, number, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, unset, zeros)


def intrinsic(builder: Builder, name: str, *vectors: Value) -> Value:
    """Return the result of one of LLVM's functions of vectors, such as `sqrt` and `fma`."""
    kind = vectors[0].type
    full = f"llvm.{name}.v{kind.count}f32"
    known = builder.module.globals.get(full)
    called = known or ir.Function(
        builder.module, ir.FunctionType(kind, [kind] * len(vectors)), full
    )
    return builder.call(called, vectors)
