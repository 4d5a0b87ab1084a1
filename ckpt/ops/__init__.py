"""What a program can say: one class per primitive, all its rules side by side.

Importing this package imports every file in it, and so fills the registry `ckpt.ir.op.OPS`: a
new primitive is a new class and nothing else. `ckpt ops` prints the registry as a table.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
