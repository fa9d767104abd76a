"""How wrong the model is, said beside everything that was computed with it."""

from __future__ import annotations

from collections.abc import Sequence

from controller.profile import Profile


def is_valid(profile: Profile) -> bool:
    """Whether what-ifs of this profile may be decided by: it was judged, and is near enough."""
    return profile.error is not None and profile.error.is_validated


def least_sure(profiles: Sequence[Profile]) -> Profile:
    """Of a fleet's profiles the one to judge it by: never compared, or farthest off.

    Args:
        profiles: at least one.
    """

    def doubt(profile: Profile) -> tuple[bool, bool, float]:
        error = profile.error
        missed = 0.0 if error is None else error.median_ratio
        return not is_valid(profile), error is None, missed

    return max(profiles, key=doubt)


def fleet_text(profiles: Sequence[Profile]) -> str:
    """One sentence: how wrong the model of a whole fleet is, by the profile that is least sure."""
    names = {profile.name for profile in profiles}
    worst = least_sure(profiles)
    of = f"; of its {len(names)} profiles {worst.name} is the least sure"
    return validity_text(worst) + (of if len(names) > 1 else "")


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
