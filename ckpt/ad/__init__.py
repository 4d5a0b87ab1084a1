"""The idea: reverse mode is three small passes, named for the three kinds of vector they make.

    1  forward.jvp           interleaves tangents with primals
    2  unzip.unzip           separates primal from tangent; at each let, save or recompute
    3  transpose.transpose   turns tangent into cotangent

They never import one another. `join.join` puts a primal program and a cotangent program back into
one; `ckpt.api.derive` does the same with both made plain, which is what the policy plans.

Source: Frostig, Johnson, Maclaurin, Paszke, Radul. Decomposing reverse-mode automatic
differentiation. 2021; Radul, Paszke, Frostig, Johnson, Maclaurin. You Only Linearize Once. POPL
2023.
"""
