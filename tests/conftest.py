"""How long the property tests run: short and the same every time, or long."""

import os

from hypothesis import HealthCheck, settings

_quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    "short", max_examples=40, deadline=None, derandomize=True, suppress_health_check=_quiet
)
settings.register_profile("long", max_examples=1000, deadline=None, suppress_health_check=_quiet)
settings.load_profile("short")  # `pytest --hypothesis-profile=long` for nights

os.environ["CKPT_PLAN_CACHE"] = "0"  # tests of planning plan; tests/api/test_kept_plans.py reads
