"""Leave out the steps of a plain script that its constants make needless."""

import ast
import re
import textwrap
from collections.abc import Mapping, Sequence

Constants = Mapping[str, object]
KNOWN_FUNCTIONS = {"len": len}  # in conditions that are decided


def leave_out_needless_steps(script: str) -> str:
    """Decide each `if` over constants alone; leave out loops over nothing, and unused names.

    What is left is what somebody would write by hand for the data: without a date among the
    columns there is no code for dates.
    """
    while True:
        tree = ast.parse(script)
        shorter = _leave_out_statement(script, tree) or _leave_out_unused_name(script, tree)
        if shorter is None:
            return re.sub(r"\n{4,}", "\n\n\n", script)
        script = shorter


def _leave_out_statement(script: str, tree: ast.Module) -> str | None:
    """Decide the first `if` or `for` over constants alone; return None if there is none."""
    constants = _read_constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and _has_only_constants(node.test, constants):
            chosen = node.body if _evaluate(node.test, constants) else node.orelse
            return _replace(script, node, _unindented(script, node, chosen))
        if isinstance(node, ast.For) and _is_nothing(node.iter, constants):
            return _replace(script, node, [])
    return None


def _leave_out_unused_name(script: str, tree: ast.Module) -> str | None:
    """Leave out the first constant, function or import that nothing uses; None if all are used."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.FunctionDef(name=name):
                if name not in used:
                    return _replace(script, node, [])
            case ast.Import(names=imported) | ast.ImportFrom(names=imported):
                node.names = [one for one in imported if (one.asname or one.name) in used]
                if not node.names:
                    return _replace(script, node, [])
                if len(node.names) < len(imported):
                    return _replace(script, node, [ast.unparse(node)])
    return None


def _read_constants(tree: ast.Module) -> dict[str, object]:
    """Return the script's constants, such as `FOLDS = 5`, by their names."""
    constants: dict[str, object] = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]):
                try:
                    constants[name] = ast.literal_eval(node.value)
                except ValueError:  # it is computed
                    continue
    return constants


def _has_only_constants(expression: ast.expr, constants: Constants) -> bool:
    names = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    return bool(names) and names <= {*constants, *KNOWN_FUNCTIONS}


def _is_nothing(items: ast.expr, constants: Constants) -> bool:
    return _has_only_constants(items, constants) and not _evaluate(items, constants)


def _evaluate(expression: ast.expr, constants: Constants) -> object:
    """Compute an expression of a shipped script, of constants alone."""
    return eval(ast.unparse(expression), {"__builtins__": KNOWN_FUNCTIONS}, constants)  # noqa: S307


def _unindented(script: str, branching: ast.If, chosen: Sequence[ast.stmt]) -> list[str]:
    """Return the lines of the chosen branch, indented as the `if` was."""
    if not chosen:
        return []
    lines = script.splitlines()[chosen[0].lineno - 1 : chosen[-1].end_lineno]
    if lines[0].lstrip().startswith("elif "):
        return [lines[0].replace("elif ", "if ", 1), *lines[1:]]
    text = textwrap.dedent("\n".join(lines))
    return textwrap.indent(text, " " * branching.col_offset).splitlines()


def _replace(script: str, statement: ast.stmt, lines: Sequence[str]) -> str:
    """Put lines in the place of a statement."""
    before = script.splitlines()[: statement.lineno - 1]
    after = script.splitlines()[statement.end_lineno :]
    return "\n".join([*before, *lines, *after]) + "\n"
