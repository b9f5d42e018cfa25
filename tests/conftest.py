"""For all tests: generated examples are the same on every run.

A property test that finds something new now and then would stop whoever changes something else.  To search further:
HYPOTHESIS_PROFILE=search make test ARGS='…'
"""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.register_profile("search", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
