"""Sizes, numbers of attempts, and delays of delivery."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DeliveryLimits"]


@dataclass(frozen=True)
class DeliveryLimits:
    """Sizes, numbers of attempts, and delays of delivery."""

    batch: int = 100  # jobs in one request
    pictures: int = 5  # between two batches, where each is a request of its own
    picture_batch: int = 50  # pictures in one request, ...
    picture_bytes: int = 2 * 2**20  # ... and their size, unless it is one
    linger_seconds: float = 0.25  # after a batch that was not full, in which others gather
    clean_pictures: int = 2  # of a reference, between two batches
    suspects: int = 3  # failures in a row after which the server is to blame, and not the job
    attempts: int = 10  # failures of a job, while others were accepted, after which it is parked
    fruitless: int = 5  # passes without an accepted job, and ...
    patience_seconds: float = 600.0  # ... their time, after which a newer job of a stream is tried
    first_delay_seconds: float = 0.5  # after the first failure; doubles with each further one
    longest_delay_seconds: float = 60.0
    silence_seconds: float = 60.0  # between two warnings about parked jobs
    retry_parked_seconds: float = 86_400.0  # after which a parked job is sent once more
    ask_seconds: float = 60.0  # between two looks for what people ask for
    retry_parked_at_most: int = 200  # of them at once

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after the first failure and `failures` further ones."""
        return min(self.longest_delay_seconds, self.first_delay_seconds * 2.0 ** min(failures, 20))
