"""What all tests share."""

from hypothesis import settings

# A machine that does something else meanwhile is no reason to fail.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
