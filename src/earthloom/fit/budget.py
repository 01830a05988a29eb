"""How many windows fit into a memory budget, found by measuring one and two of them."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from earthloom.errors import ProjectError
from earthloom.fit.flat import each_tensor, taken, windows_in
from earthloom.fit.predictor import Predictor
from earthloom.sample.batch import Batch

MARGIN = 1.25
"""What is measured counts this much more: allocators round up, and libraries keep workspaces."""

_MOST = 64


@dataclass(frozen=True)
class Budgeted:
    """A batch that fits, and what was measured to find it."""

    batch: int
    fixed: int
    """Bytes that are needed whatever the batch."""
    per_window: int
    """Bytes that each window needs on top."""

    @property
    def bytes(self) -> int:
        """Peak of such a batch, the margin included."""
        return int(MARGIN * (self.fixed + self.batch * self.per_window))


def batch_within(measure: Callable[[int], int], budget: int, most: int = _MOST) -> Budgeted:
    """The largest batch whose peak stays within `budget` bytes; at most `most` windows.

    `measure` gives the peak in bytes of that many windows. ProjectError if not even one fits. Where
    `measure` gives the same figures again, so does this.
    """
    one, two = measure(1), measure(2)
    per_window = max(two - one, 1)
    fixed = max(one - per_window, 0)
    fits = int((budget / MARGIN - fixed) // per_window)
    if fits < 1:
        needed = int(MARGIN * one)
        raise ProjectError(
            f"a memory budget of {_in_words(budget)} does not hold one window, which needs about "
            f"{_in_words(needed)}; give more memory, or make the windows of the map smaller"
        )
    return Budgeted(min(fits, most), fixed, per_window)


def batch_for(predictor: Predictor, window: Batch, budget: int, most: int = _MOST) -> Budgeted:
    """The largest batch for a predictor, of windows like the first of `window`.

    The budget is for all lanes together. ProjectError if it does not hold one window.
    """
    measure = _on_gpu(predictor, window) if predictor.plan.kind == "cuda" else None
    if measure is None:
        measure = _on_processor(predictor, window)
    return batch_within(measure, budget // predictor.lanes, most)


def torch_peak(run: Callable[[], object]) -> int:
    """Most bytes that torch's own allocator held at once for the calling thread, over what it held
    before. The same figure each time."""
    # The profiler's own notices would stand among the user's.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        run()
    events = [e for e in profile.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def gpu_peak(run: Callable[[], object], device: str) -> int:
    """Most bytes of a GPU's memory that torch held at once, over what it held before."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def resident_peak(run: Callable[[], object], every_s: float = 0.002) -> int:
    """Most bytes of this process in memory while something runs, over those before.

    For code whose allocations nobody counts. What is measured varies by a few MB from time to
    time, and memory that the process holds already is not seen.
    """
    before = peak = _resident()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(every_s):
            peak = max(peak, _resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        run()
        peak = max(peak, _resident())
    finally:
        done.set()
        watcher.join()
    return peak - before


def _resident() -> int:
    """Bytes of this process in memory, as Linux counts them; 0 elsewhere."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _on_processor(predictor: Predictor, window: Batch) -> Callable[[int], int]:
    def measure(count: int) -> int:
        batch = _repeated(window, count)
        return torch_peak(lambda: predictor.here(batch)) + _bytes_of(batch)

    return measure


def _on_gpu(predictor: Predictor, window: Batch) -> Callable[[int], int]:
    device = predictor.plan.device

    def measure(count: int) -> int:
        batch = _repeated(window, count)

        def run() -> None:
            predictor.here(each_tensor(batch, lambda tensor: tensor.to(device)))

        # The windows of the next batch are on their way while this one is evaluated.
        return gpu_peak(run, device) + _bytes_of(batch)

    return measure


def _repeated(window: Batch, count: int) -> Batch:
    """The first window of a batch, so many times."""
    assert windows_in(window) >= 1
    return taken(window, torch.zeros(count, dtype=torch.int64))


def _bytes_of(batch: Batch) -> int:
    return sum(
        tensor.nbytes
        for layer in batch.layers.values()
        for tensor in (layer.pixels, layer.valid, layer.days)
    )


def _in_words(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
