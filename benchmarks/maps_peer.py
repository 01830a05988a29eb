"""TerraTorch's part of `maps.py`; runs with a Python of its own (`requirements/terratorch.txt`).

A GeoTIFF to a GeoTIFF of classes with TerraTorch's tiled inference, as its documentation shows it:
the whole image as one tensor, windows blended over their overlap, the most probable class. The
network, its weights and the windows are those of `maps.py`. Prints one JSON object.

    PEER/bin/python benchmarks/maps_peer.py IMAGE MODEL OUT --crop 256 --stride 224
"""

import argparse
import json
import sys
import time
import warnings
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import rasterio
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from earthloom.encoders.unet import UNetBody


class Network(torch.nn.Module):
    """The network of a saved model: reflectance (B, C, H, W), NaN where not seen, to logits."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        card = json.loads((folder / "card.json").read_text())
        tensors = load_file(folder / "model.safetensors")
        (member,), (layer,) = card["members"], card["layers"]
        made, key = member["encoder"], f"{layer['sensor']}_{layer['gsd']:g}m"
        self.body = UNetBody(len(layer["bands"]) + 1, made["width"], made["levels"], made["norm"])
        self.body.load_state_dict(_below(tensors, "0.encoder.body."))
        self.head = torch.nn.Conv2d(made["width"], len(card["task"]["codes"]), 1)
        self.head.load_state_dict(_below(tensors, "0.head.layer."))
        for name in ("mean", "std"):
            self.register_buffer(name, tensors[f"0.encoder.{name}_{key}"][:, None, None])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = ~image[:, :1].isnan()
        scaled = torch.where(seen, (image - self.mean) / self.std, 0.0)
        return self.head(self.body(torch.cat([scaled, seen.to(scaled.dtype)], dim=1)))


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--stride", type=int, default=224)
    parser.add_argument("--delta", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    from terratorch.tasks.tiled_inference import tiled_inference

    torch.set_num_threads(asked.threads)
    network = Network(asked.model).eval()
    if asked.channels_last:
        network = network.to(memory_format=torch.channels_last)
    start = time.perf_counter()
    with rasterio.open(asked.image) as file:
        profile, image = file.profile, torch.from_numpy(file.read())[None]
    half = torch.autocast("cpu", torch.bfloat16) if asked.bf16 else nullcontext()
    with torch.inference_mode(), half:
        logits = tiled_inference(
            network, image, crop=asked.crop, stride=asked.stride, delta=asked.delta,
            batch_size=asked.batch,
        )  # fmt: skip
    classes = (logits.argmax(dim=1) + 1).to(torch.uint8)
    classes[image[:, 0].isnan()] = 0
    profile.update(count=1, dtype="uint8", nodata=0, compress="deflate", predictor=1)
    with rasterio.open(asked.out, "w", **profile) as file:
        file.write(classes.numpy())
    seconds = time.perf_counter() - start
    # Not `getrusage`, which includes the process that started this one.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    print(json.dumps({"seconds": seconds, "peak_gb": peak, "terratorch": version("terratorch")}))


if __name__ == "__main__":
    main()
