"""When and where: an order of lets becomes a plan with an address for everything.

    order ──schedule──► steps and versions ──live──► live ranges ──arena──► offsets ──place──► Plan

`schedule` says which version of a buffer each run reads and writes; `live` how long each is
needed, and where a result takes over the memory of a dying operand; `arena` where it stands.
`place` does all three and adds the figures. A `Plan` is plain data: JSON out and in (`read`), a
table (`table`), a timeline, a comparison with an older one (`diff`). `verify` trusts none of it:
it simulates a plan on its own and is run before any plan that came from a file.
"""
