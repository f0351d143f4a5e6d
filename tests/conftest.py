"""Property tests draw the same examples each time, so that the same code passes or fails; `make fuzz` draws others."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # no timed tests
settings.register_profile("fuzz", derandomize=False, print_blob=True, deadline=None)
settings.load_profile("repeatable")
