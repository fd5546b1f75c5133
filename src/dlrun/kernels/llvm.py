"""Loops as machine code, by LLVM through llvmlite, which numba is built on.

numba compiles such loops too, but a process that only calls them pays 0.2 s and 100 MB for it;
this takes 0.03 s and 65 MB, and leaves no files. Raises ImportError or OSError on import where
this machine has no llvmlite.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

COUNT = ir.IntType(64)
INT32 = ir.IntType(32)
FLOAT = ir.FloatType()

Builder = Any  # an ir.IRBuilder; llvmlite has no types for mypy
Value = Any


def pointer(to: ir.Type) -> ir.Type:
    """The type of an array's address."""
    return to.as_pointer()


def numbers(count: int) -> ir.Type:
    """The type of so many floats at once; LLVM maps them to registers."""
    return ir.VectorType(FLOAT, count)


def constant(value: int) -> Value:
    """A COUNT."""
    return ir.Constant(COUNT, value)


def function(arguments: Sequence[ir.Type], write: Callable[..., None]) -> Callable[..., None]:
    """A function without a result, as machine code for this machine.

    Nothing is checked when it is called: arrays are given as addresses, which must hold what it
    reads and writes.

    Args:
        arguments: the types of its arguments: pointers, COUNT, FLOAT.
        write: writes its body; gets a Builder and the arguments.
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
    made: Callable[..., None] = call
    return made


def loop(
    builder: Builder,
    start: Value,
    stop: Value,
    body: Callable[..., Sequence[Value]],
    *,
    step: int = 1,
    carried: Sequence[Value] = (),
) -> list[Value]:
    """Write a loop over COUNTs from `start` to before `stop`.

    `body` gets the index and the carried values and returns these anew; the last are returned.
    """
    before, head = builder.block, builder.append_basic_block()
    inside, after = builder.append_basic_block(), builder.append_basic_block()
    builder.branch(head)
    builder.position_at_end(head)
    index, values = builder.phi(COUNT), [builder.phi(value.type) for value in carried]
    builder.cbranch(builder.icmp_signed("<", index, stop), inside, after)
    builder.position_at_end(inside)
    renewed = [builder.add(index, constant(step)), *body(index, *values)]
    last = builder.block
    builder.branch(head)
    for phi, first, new in zip([index, *values], [start, *carried], renewed, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(new, last)
    builder.position_at_end(after)
    return values


def at(builder: Builder, array: Value, index: Value, kind: ir.Type | None = None) -> Value:
    """The address of an element, as one of another type if `kind` is given."""
    place = builder.gep(array, [index])
    return place if kind is None else builder.bitcast(place, pointer(kind))


def repeated(builder: Builder, value: Value, count: int) -> Value:
    """`numbers` that are all the same float."""
    kind = numbers(count)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, count), [0] * count)
    return builder.shuffle_vector(first, first, zeros)


def square_root(builder: Builder, value: Value, count: int) -> Value:
    """The roots of `numbers`."""
    kind = numbers(count)
    name = f"llvm.sqrt.v{count}f32"
    found = builder.module.globals.get(name)
    root = found or ir.Function(builder.module, ir.FunctionType(kind, [kind]), name)
    return builder.call(root, [value])
