"""Instances that may be behind a verdict: slowed down, away, or unlike their peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl

from analysis.degradation import degradation
from analysis.degradation_words import slower
from analysis.fleet import Seen
from analysis.instances import OUTLIER_SCORE
