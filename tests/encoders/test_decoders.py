"""Decoders over pyramids of every kind, and backbones of timm."""

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

from earthloom.encoders import Statistics
from earthloom.encoders.base import Level
from earthloom.encoders.compose import build
from earthloom.encoders.decoders import DECODERS, make_decoder
from earthloom.encoders.timm_backbone import TimmEncoder
from earthloom.errors import ContractError, DataError
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

SPEC = LayerSpec("s", 10, ("red", "green"), "1", ("1",), (660.0, 560.0))
STATISTICS = {SPEC.key: Statistics((0.0, 0.0), (1.0, 1.0))}

PYRAMIDS = {
    "resnet": [Level(6, 2), Level(6, 4), Level(8, 8), Level(10, 16), Level(12, 32)],
    "convnext": [Level(6, 4), Level(8, 8), Level(10, 16), Level(12, 32)],
    "vit": [Level(8, 16)] * 4,
    "small vit": [Level(8, 8)] * 3,
    "unet": [Level(4, 1), Level(8, 2), Level(16, 4)],
    "one": [Level(8, 16)],
}
WIDTHS = {"fpn": 32, "unet": 2, "hypercolumn": None}


def images_of(levels, rows, cols):
    torch.manual_seed(0)
    return [torch.randn(2, e.channels, rows // e.stride, cols // e.stride) for e in levels]


@pytest.mark.parametrize("pyramid", PYRAMIDS)
@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(("rows", "cols"), [(32, 64), (16, 48)])
def test_every_decoder_takes_every_pyramid(name, pyramid, rows, cols):
    levels = PYRAMIDS[pyramid]
    if rows % max(level.stride for level in levels):
        rows, cols = 64, 96
    decoder = make_decoder(name, levels, WIDTHS.get(name, 8))
    images = images_of(levels, rows, cols)
    for mode in (decoder.train(), decoder.eval()):
        found = mode(images)
        assert found.shape[:2] == (2, decoder.channels)
        assert found.shape[-2] * decoder.stride >= rows
        assert found.shape[-1] * decoder.stride >= cols
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", ["unet", "fpn", "upernet", "segformer"])
def test_a_decoder_is_that_of_the_library(name):
    """The same weights under the library's own encoder and model give the same image."""
    makers = {"unet": smp.Unet, "fpn": smp.FPN, "upernet": smp.UPerNet, "segformer": smp.Segformer}
    torch.manual_seed(0)
    whole = makers[name]("resnet18", encoder_weights=None).eval()
    levels = [Level(c, 2**n) for n, c in enumerate(whole.encoder.out_channels)][1:]
    width = {"unet": 16, "fpn": 128, "upernet": 256, "segformer": 256}[name]
    decoder = make_decoder(name, levels, width, norm="batch").eval()
    decoder.body.load_state_dict(whole.decoder.state_dict())
    with torch.inference_mode():
        images = whole.encoder(torch.rand(1, 3, 64, 96))
        torch.testing.assert_close(decoder(images[1:]), whole.decoder(images))


def test_a_hypercolumn_is_every_level_at_its_place():
    levels = [Level(1, 2), Level(1, 4), Level(1, 8)]
    images = [torch.arange(n, dtype=torch.float32).expand(1, 1, n, n) for n in (16, 8, 4)]
    found = make_decoder("hypercolumn", levels)(images)
    assert found.shape == (1, 3, 8, 8)
    # In pixels of the base grid, the middle of each cell lies at the same place in every level.
    places = [
        image * level.stride + level.stride / 2
        for image, level in zip([found[:, n : n + 1] for n in range(3)], levels, strict=True)
    ]
    inner = [place[0, 0, 2:-2, 2:-2] for place in places]
    torch.testing.assert_close(inner[0], inner[1])
    torch.testing.assert_close(inner[1], inner[2])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ContractError, match=r"no decoder 'pspnet'.*hypercolumn, unet, fpn"):
        make_decoder("pspnet", PYRAMIDS["vit"])
    with pytest.raises(ContractError, match="has none"):
        make_decoder("unet", [])
    with pytest.raises(ContractError, match="stride 14"):
        make_decoder("unet", [Level(8, 14)] * 4)
    with pytest.raises(ContractError, match="multiples of 32"):
        make_decoder("fpn", PYRAMIDS["vit"], 8)
    nested = {"name": "decoded", "encoder": {"name": "timm", "architecture": "test_vit"}}
    with pytest.raises(ContractError, match="stride 3"):
        build(nested | {"stride": 3, "decoder": "fpn", "width": 32}, (SPEC,), STATISTICS)


def batch_of(pixels):
    count, _, rows, cols = pixels.shape
    valid = torch.ones(count, 1, rows, cols, dtype=torch.bool)
    layer = LayerBatch(pixels[:, None], valid, torch.zeros(count, 1, dtype=torch.int32))
    return Batch(("c",) * count, {SPEC.key: layer}, label=None)


def test_weights_come_from_a_file_and_the_first_filters_are_made_to_fit(tmp_path):
    import timm

    torch.manual_seed(0)
    published = timm.create_model("resnet10t").eval()
    save_file(published.state_dict(), tmp_path / "w.safetensors")
    encoder = TimmEncoder((SPEC,), STATISTICS, "resnet10t").eval()
    encoder.read_weights(tmp_path / "w.safetensors")
    own, given = encoder.net.state_dict(), published.state_dict()
    first = "conv1.0.weight"
    assert own[first].shape[1] == given[first].shape[1] == 3
    # Two bands and their mask happen to be three planes: the network is the published one.
    image = torch.rand(2, 2, 64, 64)
    with torch.inference_mode():
        found = encoder(batch_of(image)).pixels
        mask = torch.ones(2, 1, 64, 64)
        torch.testing.assert_close(
            found, published.forward_features(torch.cat([image, mask], dim=1))
        )
    one = SPEC.with_bands((0,))
    narrow = TimmEncoder((one,), {one.key: Statistics((0.0,), (1.0,))}, "resnet10t")
    narrow.read_weights(tmp_path / "w.safetensors")
    assert narrow.net.state_dict()[first].shape[1] == 2
    assert torch.equal(
        narrow.net.state_dict()["layer1.0.conv1.weight"], own["layer1.0.conv1.weight"]
    )


def test_weights_that_do_not_fit_are_refused(tmp_path):
    encoder = TimmEncoder((SPEC,), STATISTICS, "resnet10t")
    state = {name: tensor.clone() for name, tensor in encoder.net.state_dict().items()}
    pickled = tmp_path / "w.pth"
    torch.save(state, pickled)
    with pytest.raises(DataError, match="valid is a safetensors file"):
        encoder.read_weights(pickled)
    save_file({"fc.weight": torch.zeros(2)}, tmp_path / "few.safetensors")
    with pytest.raises(DataError, match=r"no weights conv1\.0\.weight"):
        encoder.read_weights(tmp_path / "few.safetensors")
    state["layer1.0.conv1.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(DataError, match=r"layer1\.0\.conv1\.weight has the shape \(1,\)"):
        encoder.read_weights(tmp_path / "odd.safetensors")


def test_an_architecture_that_timm_lacks_is_named_with_others():
    with pytest.raises(ContractError, match=r"no architecture 'resnet1000'.*resnet"):
        TimmEncoder((SPEC,), STATISTICS, "resnet1000")


@pytest.mark.parametrize(
    "architecture",
    [
        "resnet18",
        "vit_tiny_patch16_224",
        "convnext_atto",
        "test_efficientnet",
        "test_vit4",
        "swin_tiny_patch4_window7_224",
    ],
)
def test_families_of_timm_work_at_any_size(architecture):
    torch.manual_seed(0)
    encoder = TimmEncoder((SPEC,), STATISTICS, architecture).eval()
    for rows, cols in ((20, 70), (96, 64)):
        with torch.inference_mode():
            found = encoder(batch_of(torch.rand(1, 2, rows, cols)))
        cells = -(-rows // encoder.stride), -(-cols // encoder.stride)
        assert found.pixels.shape == (1, encoder.channels, *cells)
        assert len(found.pyramid) == len(encoder.pyramid) >= 3


def test_an_untrained_network_passes_its_input_on_through_every_branch():
    """An untrained residual network whose branches begin at zero is a chain of convolutions."""
    torch.manual_seed(0)
    encoder = TimmEncoder((SPEC,), STATISTICS, "resnet18")
    assert np.all(
        [m.weight.any() for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    )
