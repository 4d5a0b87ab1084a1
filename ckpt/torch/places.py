"""Where a node of a graph comes from: module and source line."""

import re

from torch import fx


def module_of(node: fx.Node) -> str:
    """Path of the module that a node, or the forward node that it derives from, belongs to."""
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack") or {}
    for path, _class in reversed(list(stack.values())):
        _, _, inner = str(path).partition("].")
        return re.sub(r"_modules\['(\w+)'\]|\['?(\w+)'?\]", r"\1\2", inner or str(path))
    return ""


def line_of(node: fx.Node) -> str:
    """File and line of the user's code that a node comes from."""
    found = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    if not found:
        return ""
    file, line = found[-1]
    return f"{file.rpartition('/')[2]}:{line}"


def place(node: fx.Node) -> str:
    """Module and line of a node, or its name."""
    return " ".join(part for part in (module_of(node), line_of(node)) if part) or node.name
