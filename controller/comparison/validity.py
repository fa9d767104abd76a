"""How wrong the model is, said beside everything that was computed with it."""

from __future__ import annotations

from controller.profile import Profile

# A profile whose error is larger is not one to decide by.
VALID_MEDIAN_RATIO = 0.10


def is_valid(profile: Profile) -> bool:
    """Whether what-ifs of this profile may be decided by."""
    return profile.error is not None and profile.error.median_ratio <= VALID_MEDIAN_RATIO


def validity_text(profile: Profile) -> str:
    """One sentence: how wrong the model is."""
    error = profile.error
    if error is None:
        return (
            f"not validated: the profile {profile.name} was never compared with rows of this fleet"
            " (servescope calibrate does that)"
        )
    told = (
        f"simulated end-to-end times are {error.median_ratio:.1%} off in the median and"
        f" {error.p99_ratio:.1%} at p99, on {error.rows:,} rows of {error.source}"
    )
    if is_valid(profile):
        return f"validated: {told}"
    return f"not validated: {told}; the bound is {VALID_MEDIAN_RATIO:.0%} in the median"
