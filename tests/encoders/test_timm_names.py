"""Families of timm with any number of bands, and how weights for red, green and blue are spread."""

import pytest
import torch
from safetensors.torch import save_file

from earthloom.encoders import Statistics
from earthloom.encoders.timm_backbone import TimmEncoder
from earthloom.sample import LayerSpec

FIVE = LayerSpec(
    "s", 10, ("b", "g", "r", "n", "s"), "1", ("1",), (490.0, 560.0, 665.0, 833.0, 1610.0)
)
STATISTICS = {FIVE.key: Statistics((0.5,) * 5, (0.3,) * 5)}
NAMES = {
    "swin_tiny_patch4_window7_224": (4, 8, 16, 32),
    "swinv2_tiny_window8_256": (4, 8, 16, 32),
    "convnextv2_atto": (4, 8, 16, 32),
    "vit_small_patch16_224": (16, 16, 16, 16),
    "vit_small_patch16_dinov3": (16, 16, 16, 16),
    "convnext_tiny": (4, 8, 16, 32),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_family_takes_any_number_of_bands_and_any_size(name):
    encoder = TimmEncoder((FIVE,), STATISTICS, name).eval()
    assert tuple(level.stride for level in encoder.pyramid) == NAMES[name]
    image = torch.randn(1, 6, 64, 96)
    with torch.inference_mode():
        stages = encoder.net.forward_intermediates(
            image, indices=encoder._taps, output_fmt="NCHW", intermediates_only=True
        )
    for stage, level in zip(stages, encoder.pyramid, strict=True):
        assert stage.shape == (1, level.channels, 64 // level.stride, 96 // level.stride)
        assert stage.std() > 0


def test_filters_of_three_bands_are_repeated_in_turn_and_scaled_down(tmp_path):
    """An image whose planes are all alike gives what red, green and blue alike gave."""
    encoder = TimmEncoder((FIVE,), STATISTICS, "test_vit").eval()
    state = {k: v.clone() for k, v in encoder.net.state_dict().items()}
    filters = torch.randn(state["patch_embed.proj.weight"].shape[0], 3, 16, 16)
    save_file(state | {"patch_embed.proj.weight": filters}, tmp_path / "w.safetensors")
    encoder.read_weights(tmp_path / "w.safetensors")
    found = encoder.net.patch_embed.proj.weight
    torch.testing.assert_close(found, filters[:, [0, 1, 2, 0, 1, 2]] * 3 / 6)
    torch.testing.assert_close(found.sum(dim=1), filters.sum(dim=1), atol=1e-4, rtol=1e-4)
