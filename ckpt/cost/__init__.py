"""How much a let costs, in seconds and bytes.

`device` describes a device in a handful of figures (YAML; those of this kind of processor come
with the package, in `devices/cpu.yaml`), `model` turns a let into seconds by a roofline or by a
measured table, `contraction` says how a contraction maps to matrix products, and `scratch` what a
let needs while it runs beyond its operands and results.
"""
