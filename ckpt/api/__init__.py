"""The public entry points: functions in, compiled steps out.

    gradient      value_and_grad, grad, compile: functions with a byte budget
    step          Step: traced, planned and compiled once per signature
                  (`planning` decides and places, `loop_budget` what loops keep, `nested` makes
                  the programs ready that ops hold, `kept_plans` what was planned on disk)
    derivatives   jvp, linearize, vjp
    stage         partial_eval: early and late programs under a budget
                  (`apart` keeps rows and patterns of the stages apart, `priced` is what the policy
                  sees, `split` makes the halves, `half` runs them on some of the arguments, which
                  are a `part`; `staged` is what the user gets, `residuals` what crosses,
                  `tensors_file` how it rests on disk)
    loops         scan, fori_loop, while_loop, map
    branches      cond, switch
    progress      progress: of long loops
    custom        custom_jvp, custom_vjp
    pins          save, recompute
    derive        from a program to its derivative programs: the three passes, put together

`import ckpt` offers all of it; nothing else is meant to be imported from here.
"""
