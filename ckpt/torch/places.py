"""Where a node of a graph comes from: module and source line."""

import re

from torch import fx


def module_of(node: fx.Node) -> str:
    """Path of the module that a node, or the forward node that it derives from, belongs to."""
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack") or {}
    for path, _class in reversed(list(stack.values())):
        return _attributes(str(path))
    return ""


def _attributes(path: str) -> str:
    """A module's path by attributes, however Dynamo looked it up; empty for the model itself.

    >>> _attributes("L['self'].net.__dict__['_modules']['up'].0"), _attributes("L['self']")
    ('net.up.0', '')
    >>> _attributes("L['self'].layers[3]._modules['wide']"), _attributes("G['net']")
    ('layers.3.wide', 'net')
    """
    inner = re.sub(r"^L\['self'\]|^\w+\['\w+'\](?=\.)|^\w(?=\[)", "", path)
    dotted = re.sub(r"(?:__dict__\['_modules'\]|_modules)?\['?(\w+)'?\]", r".\1", inner)
    return dotted.replace("..", ".").strip(".")


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
