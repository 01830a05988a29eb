"""Images that are worked on piece by piece."""

import pytest
import torch
import torch.nn.functional as F

from earthloom.encoders.loom.pieces import Averaged, Enlarged, Piece, Whole, turned_round
from earthloom.sample import Shape2d

PIECES = [
    Piece(slice(at, at + 1), *rows) for at in range(2) for rows in ((0, 4), (4, 12), (12, 15))
]


def test_pieces_of_an_enlarged_image_are_those_of_the_whole():
    image = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    shape = Shape2d(15, 11)
    large = F.interpolate(image.permute(0, 3, 1, 2), scale_factor=4.0, mode="bilinear")
    whole = Whole(PIECES, (2, 5, *shape))
    for piece in PIECES:
        whole.put(piece, Enlarged(image, 4, shape).of(piece).mT)
    torch.testing.assert_close(whole.made(), large[..., :15, :11])


def test_pixels_are_turned_round_both_ways():
    values = torch.randn(2, 3, 7, requires_grad=True)
    turned = turned_round(values)
    assert turned.is_contiguous()
    assert torch.equal(turned, values.mT)
    wanted = torch.randn(turned.shape)
    (found,) = torch.autograd.grad((turned * wanted).sum(), values)
    assert found.is_contiguous()
    assert torch.equal(found, wanted.mT)
    with torch.no_grad():
        assert torch.equal(turned_round(values), values.mT)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_whole_lies_as_it_is_told_to(channels_last: bool):
    image = torch.randn(2, 5, 15, 11)
    form = torch.channels_last if channels_last else torch.contiguous_format
    for pieces in (PIECES, [Piece(slice(None), 0, 15)]):
        whole = Averaged(pieces, torch.ones(2, 15, 11), 5, channels_last)
        for piece in pieces:
            part = piece.of(image).flatten(2)
            whole.put(piece, part[:, :2])
            whole.put(piece, part[:, 2:], 2)
        made = whole.made()
        assert made.is_contiguous(memory_format=form)
        assert torch.equal(made, image)
        torch.testing.assert_close(whole.mean(), image.mean(dim=(2, 3)))
