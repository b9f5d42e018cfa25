"""For all tests: generated examples are the same on every run.

A property test that finds something new now and then would stop whoever changes something else.  To search further:
HYPOTHESIS_PROFILE=search make test ARGS='…'.  None is judged by the time that it takes: other tests run beside it.
"""

import os

from hypothesis import HealthCheck, settings

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", untimed, derandomize=True)
settings.register_profile("search", untimed, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
