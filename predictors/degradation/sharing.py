"""What sharing its cores costs an instance, as the scheduler tells it: nothing is learnt here.

While an instance could run but something else runs in its place, it loses time. Of the time that
its threads waited, others explain at most what they used of its cores meanwhile; the rest its
threads waited for each other, which they do alone too. So of the work under way it got

    run / (run + min(waited, used by others)).

What caches, memory and disks cost besides is left to be learnt, as a ratio to this.
"""

from __future__ import annotations

import numpy as np

from predictors.degradation.windows import Windows
from predictors.distribution import Floats

# Shares of the instance's own cores that it and all used, and seconds a second that its threads
# were runnable and did not run, for each of those cores.
RUN, USED, WAITED = "self.own_cores_ratio", "host.own_cores_ratio", "self.run_wait_per_s"
LEAST_SHARE = 0.05
# A little above what sharing alone would leave is possible: labels are noisy.
MOST_RATIO = 1.25


def is_told(windows: Windows) -> bool:
    """Whether these rows hold the counters it takes."""
    return {RUN, USED, WAITED} <= set(windows.names)


def share(windows: Windows) -> Floats:
    """(n,) in [`LEAST_SHARE`, 1]; 1 where nothing is told."""
    if not is_told(windows):
        return np.ones(len(windows))
    run, used, waited = (
        windows.values[:, :, windows.names.index(name)] for name in (RUN, USED, WAITED)
    )
    known = np.isfinite(run) & np.isfinite(used) & np.isfinite(waited) & windows.steps
    lost = np.minimum(np.maximum(waited, 0.0), np.maximum(used - run, 0.0))
    ran, missed = (np.where(known, part, 0.0).sum(axis=1) for part in (run, lost))
    there = ran + missed > 0
    made = np.where(there, ran / np.where(there, ran + missed, 1.0), 1.0)
    return np.asarray(np.clip(made, LEAST_SHARE, 1.0), dtype=np.float64)
