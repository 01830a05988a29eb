"""How fast Loom is: against a plain transformer of timm of equal size, and on a map.

    python benchmarks/encoder_speed.py [--chip 128] [--batch 8] [--rounds 7] [--size tiny]
        [--window 512] [--dates 12]

Both learn 64 features of every pixel of chips of one date and ten bands, from nothing but the
pixels; Loom's calendar comes on top. The peer is timm's `vit_tiny_patch16_224` (for another size
its `small` or `base`), at the chips' own size, with so many blocks that its parameters are nearest
to Loom's; a linear layer makes of each token the features of its 16 x 16 pixels, and is not
counted. `sparse` is the same transformer with one vector of 64 a token, enlarged bilinearly, which
says nothing of single pixels. All train a linear classifier of pixels on top. Each is tried in
float32 and in bfloat16, and goes on in its faster format, in turn with the others; figures are
medians of ratios over rounds, so that whatever else the machine does hits all alike. `map_mpx_s` is
the map of 12 dates and ten bands in windows, one on each core that the process may use, as maps are
made; in the faster format. On a GPU, 2048 x 2048 pixels at once, and the share of the `--peak`
TFLOP/s that training of Loom's base size reaches, are measured as well.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders import Statistics
from earthloom.encoders.loom import Loom
from earthloom.fit.lanes import Lanes, lanes_here
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

CLASSES, CHANNELS, PATCH = 10, 64, 16
NAMES = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
CENTRES = (492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 1613.7, 2202.4)
FORMATS = {"fp32": None, "bf16": torch.bfloat16}


def spec_of(dates: int) -> LayerSpec:
    times = tuple(str(number) for number in range(dates))
    return LayerSpec("sentinel-2-l2a", 10, NAMES, "1", times, CENTRES)


def loom_of(dates: int, size: str) -> Loom:
    torch.manual_seed(0)
    spec = spec_of(dates)
    return Loom((spec,), {spec.key: Statistics((0.2,) * 10, (0.1,) * 10)}, size)


def batch_of(count: int, dates: int, side: int, device: torch.device) -> Batch:
    """Noise under a fifth of clouds: what is seen plays no part here."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, dates, len(NAMES), side, side, generator=generator) * 0.5
    valid = torch.rand(count, dates, side, side, generator=generator) > 0.2
    days = (19000 + 30 * torch.arange(dates, dtype=torch.int32)).expand(count, -1)
    layer = LayerBatch(pixels, valid, days)
    return Batch(tuple(map(str, range(count))), {spec_of(dates).key: layer}, None).to(device)


class Peer(nn.Module):
    """A ViT of timm, and 64 features of every pixel."""

    def __init__(self, side: int, size: str, depth: int, dense: bool) -> None:
        super().__init__()
        self.net = timm.create_model(
            f"vit_{size}_patch16_224", in_chans=10, num_classes=0, img_size=side, depth=depth
        )
        self.dense = dense
        self.out = nn.Linear(self.net.num_features, CHANNELS * (PATCH**2 if dense else 1))

    def forward(self, batch: Batch) -> Tensor:
        (layer,) = batch.layers.values()
        pixels = torch.where(layer.valid[:, :, None], layer.pixels, 0.0)[:, 0]
        tokens = self.out(self.net.forward_features(pixels)[:, 1:])
        side = pixels.shape[-1] // PATCH
        image = tokens.mT.reshape(len(tokens), -1, side, side)
        if self.dense:
            return F.pixel_shuffle(image, PATCH).float()
        return F.interpolate(image, scale_factor=float(PATCH), mode="bilinear").float()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def peers_of(side: int, size: str, wanted: int) -> tuple[Peer, Peer, int]:
    """With so many blocks that the transformer's parameters are nearest to those wanted."""
    name = size if size != "tiny" or wanted < 8e6 else "small"
    one, two = (parameters(Peer(side, name, depth, False).net) for depth in (1, 2))
    depth = max(round((wanted - one) / (two - one)) + 1, 1)
    torch.manual_seed(0)
    dense = Peer(side, name, depth, True)
    return dense, Peer(side, name, depth, False), parameters(dense.net)


@dataclass
class Runner:
    """One contender in one number format."""

    name: str
    features: Callable[[Batch], Tensor]
    net: nn.Module
    dtype: torch.dtype | None
    device: torch.device
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.head = nn.Conv2d(CHANNELS, CLASSES, 1).to(self.device)
        weights = [*self.net.parameters(), *self.head.parameters()]
        self.optimiser = torch.optim.AdamW(weights, lr=1e-4)

    def number_format(self) -> torch.autocast | nullcontext[None]:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def forward(self, batch: Batch, label: Tensor) -> None:
        self.net.eval()
        with torch.inference_mode(), self.number_format():
            self.features(batch)

    def train(self, batch: Batch, label: Tensor) -> None:
        self.net.train()
        with self.number_format():
            loss = F.cross_entropy(self.head(self.features(batch)).float(), label)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def timed(self, what: str, batch: Batch, label: Tensor, keep: bool = True) -> None:
        began = now(self.device)
        (self.forward if what == "forward" else self.train)(batch, label)
        if keep:
            self.seconds.setdefault(what, []).append(now(self.device) - began)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def compared(options: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Loom against its peers: chips a second of Loom over those of each."""
    loom = loom_of(1, options.size).to(device)
    dense, sparse, size = peers_of(options.chip, options.size, parameters(loom))
    nets = {"loom": loom, "timm": dense.to(device), "timm_sparse": sparse.to(device)}
    runners = [
        Runner(
            f"{name} {number_format}",
            (lambda batch: loom(batch, calendar=False).pixels) if name == "loom" else net,
            net,
            dtype,
            device,
        )
        for name, net in nets.items()
        for number_format, dtype in FORMATS.items()
    ]
    batch = batch_of(options.batch, 1, options.chip, device)
    label = torch.randint(CLASSES, (options.batch, options.chip, options.chip), device=device)
    found: dict[str, float] = {"parameters": parameters(loom), "timm_parameters": size}
    for what in ("forward", "train"):
        chosen = [faster(pair, what, batch, label) for pair in pairs_of(runners)]
        for _ in range(options.rounds):
            for runner in chosen:
                runner.timed(what, batch, label)
        print(f"\n{what}: chips of {options.chip} px a second, median and range")
        for runner in chosen:
            rates = [options.batch / each for each in runner.seconds[what]]
            middle = statistics.median(rates)
            print(f"  {runner.name:18s} {middle:8.1f}  {min(rates):.1f} to {max(rates):.1f}")
            found[f"{runner.name.split()[0]}_{what}_s"] = middle
        own = chosen[0].seconds[what]
        for runner in chosen[1:]:
            ratios = [a / b for a, b in zip(runner.seconds[what], own, strict=True)]
            found[f"vs_{runner.name.split()[0]}_{what}"] = statistics.median(ratios)
    return found


def pairs_of(runners: list[Runner]) -> list[list[Runner]]:
    """Those of one network, which differ in their number format."""
    return [runners[at : at + len(FORMATS)] for at in range(0, len(runners), len(FORMATS))]


def faster(runners: list[Runner], what: str, batch: Batch, label: Tensor) -> Runner:
    """The one that is faster the second time."""
    spent = {}
    for runner in runners:
        for _ in range(2):
            began = now(runner.device)
            runner.timed(what, batch, label, keep=False)
            spent[runner.name] = now(runner.device) - began
    return min(runners, key=lambda runner: spent[runner.name])


def mapped(options: argparse.Namespace, device: torch.device) -> float:
    """Million pixels a second of a map of several dates, a window a core, as maps are made."""
    loom = loom_of(options.dates, options.size).to(device).eval()
    batch = batch_of(1, options.dates, options.window, device)
    lanes = Lanes(lanes_here())
    print(f"\nmap: {options.dates} dates x {len(NAMES)} bands, windows of {options.window} px")
    found = []
    for name, dtype in FORMATS.items():
        runner = Runner("map", lambda each: loom(each).pixels, loom, dtype, device)

        def window(runner: Runner = runner) -> Tensor:
            runner.forward(batch, torch.empty(0))
            return torch.empty(0)

        rates = []
        for turn in range(max(options.rounds // 2, 3) + 1):
            began = now(device)
            lanes.begin([window] * lanes.count).result()
            if turn > 0:
                rates.append(lanes.count * options.window**2 / 1e6 / (now(device) - began))
        found.append(statistics.median(rates))
        print(f"  loom {name} {found[-1]:.3f} Mpx/s, {min(rates):.3f} to {max(rates):.3f}")
    lanes.close()
    return max(found)


def on_gpu(options: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Dense features of 2048 x 2048 px at once, and how well training fills the GPU."""
    from torch.utils.flop_counter import FlopCounterMode

    loom = loom_of(1, options.size).to(device)
    large = Runner("large", lambda each: loom(each).pixels, loom, torch.bfloat16, device)
    batch, label = batch_of(1, 1, 2048, device), torch.empty(0)
    for turn in range(options.rounds + 3):
        torch.cuda.reset_peak_memory_stats(device)
        large.timed("forward", batch, label, keep=turn > 2)
    memory = torch.cuda.max_memory_allocated(device)
    base = loom_of(1, "base").to(device)
    trained = Runner(
        "base", lambda each: base(each, calendar=False).pixels, base, torch.bfloat16, device
    )
    batch = batch_of(64, 1, options.chip, device)
    label = torch.randint(CLASSES, (64, options.chip, options.chip), device=device)
    with FlopCounterMode(display=False) as counter:
        trained.train(batch, label)
    for turn in range(options.rounds + 3):
        trained.timed("train", batch, label, keep=turn > 2)
    speed = counter.get_total_flops() / statistics.median(trained.seconds["train"])
    return {
        "gpu_2048_ms": 1e3 * statistics.median(large.seconds["forward"]),
        "gpu_2048_gb": memory / 1e9,
        "gpu_train_mfu": speed / (options.peak * 1e12),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("chip", 128), ("batch", 8), ("rounds", 7), ("window", 512), ("dates", 12)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOP/s of the GPU in bfloat16")
    options = parser.parse_args()
    cpu = torch.device("cpu")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))))
    found = compared(options, cpu) | {"map_mpx_s": mapped(options, cpu)}
    if torch.cuda.is_available():
        cuda = torch.device("cuda")
        for name, value in compared(options, cuda).items():
            if name.startswith("vs_"):
                found[f"gpu_{name}"] = value
        found |= on_gpu(options, cuda)
    print()
    for name, value in found.items():
        print(f"  {name:26s} {value:12,.3f}")
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
