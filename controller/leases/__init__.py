"""One controller a pool: leases, kept where all controllers see them."""

from controller.leases.base import Leases

__all__ = ["Leases"]
