"""Compile loops over arrays from LLVM instructions with llvmlite, on which numba is built.

The import of numba and its first call cost a process about half a second of CPU time; with torch's
sums and RMSprop the updates of imdb-dense take twice the CPU time.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import binding, ir

COUNT = ir.IntType(64)
INT32 = ir.IntType(32)
FLOAT = ir.FloatType()
# Addresses of arrays of such numbers.
COUNTS = COUNT.as_pointer()
INT32S = INT32.as_pointer()
FLOATS = FLOAT.as_pointer()

# llvmlite has no types of its own.
Builder: TypeAlias = Any  # an ir.IRBuilder, which writes one instruction after another
Value: TypeAlias = Any  # the result of an instruction
Write: TypeAlias = Callable[..., Any]  # writes instructions with a Builder, for some Values


def compile_llvm_function(arguments: Sequence[ir.Type], write: Write) -> Callable[..., None]:
    """Compile a machine function of LLVM instructions, which `write` adds to a Builder.

    Calls of the function check no argument.
    """
    module = ir.Module()
    written = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "function")
    builder = ir.IRBuilder(written.append_basic_block())
    write(builder, *written.args)
    builder.ret_void()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=2
    )
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
    engine.finalize_object()
    kinds: dict[ir.Type, Value] = {COUNT: ctypes.c_int64, FLOAT: ctypes.c_float}
    prototype = ctypes.CFUNCTYPE(None, *(kinds.get(kind, ctypes.c_void_p) for kind in arguments))
    compiled = prototype(engine.get_function_address("function"))
    vars(compiled)["engine"] = engine  # owns the machine code
    return compiled


def write_loop(
    builder: Builder, start: Value, stop: Value, body: Write, initial: Value | None = None
) -> Value:
    """Write the LLVM code of `for index in range(start, stop): value = body(index, value)`.

    Without an initial value the body is called with the index alone.
    """
    before = builder.block
    head = builder.append_basic_block("head")
    inside = builder.append_basic_block("body")
    after = builder.append_basic_block("after")
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(COUNT)
    value = None if initial is None else builder.phi(initial.type)
    builder.cbranch(builder.icmp_signed("<", index, stop), inside, after)
    builder.position_at_end(inside)
    if value is None:
        body(index)
    else:
        value.add_incoming(initial, before)
        value.add_incoming(body(index, value), builder.block)
    index.add_incoming(start, before)
    index.add_incoming(builder.add(index, count_constant(1)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return value


class LlvmArray:
    """Writes LLVM code that loads and stores an array's numbers, singly or as vectors."""

    def __init__(self, builder: Builder, address: Value, lanes: int = 0) -> None:
        self._builder = builder
        self._address = address
        self._lanes = lanes

    def __getitem__(self, index: Value) -> Value:
        element = self._builder.load(self._place(index), align=4)
        return self._builder.sext(element, COUNT) if element.type == INT32 else element

    def __setitem__(self, index: Value, value: Value) -> None:
        self._builder.store(value, self._place(index), align=4)

    def _place(self, index: Value) -> Value:
        if self._lanes:
            index = self._builder.mul(index, count_constant(self._lanes))
        place = self._builder.gep(self._address, [index])
        if not self._lanes:
            return place
        kind = ir.VectorType(place.type.pointee, self._lanes)
        return self._builder.bitcast(place, kind.as_pointer())


def count_constant(number: int) -> Value:
    """Make an LLVM constant of the integer type of loop counters."""
    return ir.Constant(COUNT, number)


def broadcast(builder: Builder, number: Value, lanes: int) -> Value:
    """Make an LLVM vector of `lanes` elements, each of which is the same number."""
    unset = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    first = builder.insert_element(unset, number, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, unset, zeros)


def call_intrinsic(builder: Builder, name: str, *vectors: Value) -> Value:
    """Call an LLVM intrinsic function for vectors, such as `sqrt` or `fma`."""
    kind = vectors[0].type
    signature = ir.FunctionType(kind, [kind] * len(vectors))
    full = f"llvm.{name}.v{kind.count}f32"
    return builder.call(builder.module.declare_intrinsic(full, (), signature), vectors)
