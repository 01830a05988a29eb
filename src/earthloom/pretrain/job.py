"""What decides the result of a pretraining, as one digest."""

from __future__ import annotations

from earthloom.pretrain.feed import samples_digest
from earthloom.pretrain.settings import Pretraining
from earthloom.sample import Samples
from earthloom.stages import digest_of, file_digest


def job_of(settings: Pretraining, opened: tuple[Samples, ...], world: int) -> str:
    """Digest of settings, chips, starting weights and the number of devices: a checkpoint of
    another one cannot be gone on from."""
    start = None if settings.start is None else file_digest(settings.start)
    return digest_of([settings.card(), samples_digest(opened), start, world])
