"""How wrong the model is, said beside everything that was computed with it."""

from __future__ import annotations

from controller.profile import Profile


def is_valid(profile: Profile) -> bool:
    """Whether what-ifs of this profile may be decided by: it was judged, and is near enough."""
    return profile.error is not None and profile.error.is_validated


def validity_text(profile: Profile) -> str:
    """One sentence: how wrong the model is."""
    if profile.error is None:
        return (
            f"not validated: the profile {profile.name} was never compared with rows of this fleet"
            " (servescope calibrate does that)"
        )
    # What is shipped was fitted to what others measured.
    whose = " (public measurements, not this fleet)" if profile.licence else ""
    return f"{profile.error.sentence()}{whose}"
