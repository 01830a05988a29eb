"""What holds for every encoder, as laws that can be asked of one of your own.

    from earthloom.encoders.contract import check

    check(MyEncoder(layers, statistics))

Each law makes chips of noise after the encoder's own layers and statistics, and raises a
`ContractError` that says what does not hold. None of them says that features are of any use.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from earthloom.encoders.base import Encoder, Features, Statistics
from earthloom.encoders.compose import build, config_of
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.batch import Batch, LayerBatch
from earthloom.sample.room import collate_ragged

Shapes: TypeAlias = Sequence[Shape2d]

SHAPES = (Shape2d(2, 2), Shape2d(40, 64), Shape2d(34, 18))
"""Rows and columns of chips; all of them are multiples of two."""
_CLOSE = 1e-5
"""Of the largest number: what the order of sums may change in float32."""
_CLOSE_BF16 = 0.1
"""Of the length of all numbers: bfloat16 has eight bits, and networks add up their errors."""
_WIDEST = 32
"""Pixels of a radius that is looked at: wider ones take chips too large to ask in passing."""
_LOUD = 1e6
_FIRST_DAY, _DAYS_APART = 19500, 100


def check(encoder: Encoder, any_order: bool = False, seed: int = 0) -> None:
    """ContractError with every law that does not hold of an encoder, in one line.

    `encoder` is left as it is. With `any_order`, bands must be known by what they measure: made for
    the same bands in another order, the encoder gives the same features. Others may depend on
    the order that they were made for; they are shown no other, as `Encoder.check` refuses it.
    """
    laws = [*LAWS.values(), *([bands_have_no_order] if any_order else [])]
    broken = []
    for law in laws:
        try:
            law(ready(encoder), seed)
        except ContractError as error:
            broken.append(str(error))
    if broken:
        raise ContractError(f"the encoder '{encoder.name}': {'; '.join(broken)}")


def ready(encoder: Encoder) -> Encoder:
    """A copy in evaluation mode, as after training: no batch norm is left at the spread 1 and the
    mean 0, at which it hides what comes before it."""
    found = copy.deepcopy(encoder)
    generator = torch.Generator().manual_seed(0)
    for module in found.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return found.eval()


def chip_of(
    layers: Sequence[LayerSpec],
    statistics: Mapping[str, Statistics],
    number: int,
    shape: Shape2d = SHAPES[1],
    clear: bool = False,
) -> Chip:
    """Noise about the mean of each band, above 0; three tenths of it not seen, unless `clear`."""
    random = np.random.default_rng(number)
    found = {}
    for at, spec in enumerate(layers):  # sensors do not fly over on the same days
        size = (shape.rows // spec.factor, shape.cols // spec.factor)
        known, times = statistics[spec.key], len(spec.dates)
        mean, std = (np.array(each)[:, None, None] for each in (known.mean, known.std))
        noise = mean + std * random.standard_normal((times, len(spec.bands), *size))
        pixels = np.maximum(noise, 0.05 * std).astype(np.float32)
        valid = random.random((times, *size)) > (-1.0 if clear else 0.3)
        pixels[~valid[:, None].repeat(len(spec.bands), 1)] = np.nan
        days = _FIRST_DAY + at + _DAYS_APART * np.arange(times, dtype=np.int32)
        found[spec.key] = Layer(spec, pixels, valid, days)
    metres = layers[0].gsd / layers[0].factor
    corner = (500_000.0 + 50_000 * number, 5_000_000.0)
    place = Place("EPSG:32633", (metres, 0.0, corner[0], 0.0, -metres, corner[1]), shape)
    return Chip(f"c{number}", shape, found, place=place)


def batch_of(
    encoder: Encoder, seed: int = 0, shape: Shape2d = SHAPES[1], clear: bool = False
) -> Batch:
    """Two chips that the encoder takes."""
    known = statistics_of(encoder)
    chips = [chip_of(encoder.layers, known, seed + n, shape, clear) for n in range(2)]
    return _side_by_side(encoder, chips)


def statistics_of(encoder: Encoder) -> dict[str, Statistics]:
    """What the encoder knows of its layers' bands."""
    found = {}
    for spec in encoder.layers:
        std = encoder.get_buffer(f"std_{spec.key.replace('.', '_')}")
        mean = encoder.mean_of(spec).flatten()
        found[spec.key] = Statistics(tuple(mean.tolist()), tuple(std.tolist()))
    return found


def outputs(encoder: Encoder, batch: Batch) -> list[Tensor]:
    """All that tasks look at: pixels where seen, the pyramid, the vector of the chip."""
    with torch.inference_mode():
        found: Features = encoder(batch)
        vector = () if found.vector is None else (found.vector,)
        return [torch.where(found.seen[:, None], found.pixels, 0.0), *found.pyramid, *vector]


def same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether two answers of `outputs` differ by rounding alone."""
    return all(_apart(one, other) <= _CLOSE for one, other in zip(first, second, strict=True))


def features_are_as_declared(encoder: Encoder, seed: int = 0, shapes: Shapes = SHAPES) -> None:
    """Channels, stride, cells, pyramid, types; no number that is none; for chips of all sizes."""
    for shape in shapes:
        with torch.inference_mode():
            found: Features = encoder(batch_of(encoder, seed, shape))
        _shapes_are(encoder, found, shape)
        images = (found.pixels, *found.pyramid)
        types = {str(image.dtype) for image in images}
        _that(types == {"torch.float32"}, f"features are {sorted(types)}; valid is float32")
        _that(found.seen.dtype == torch.bool, f"seen is {found.seen.dtype}; valid is bool")
        _that(all(bool(image.isfinite().all()) for image in images), "features are not finite")
    aligned = (encoder.stride, *(level.stride for level in encoder.pyramid))
    off = [stride for stride in aligned if encoder.alignment % stride]
    _that(not off, f"alignment is {encoder.alignment}, which is no multiple of a stride of {off}")
    _that(encoder.radius >= 0, f"radius is {encoder.radius}; valid are 0 and more")


def _shapes_are(encoder: Encoder, found: Features, shape: Shape2d) -> None:
    chips, cells = len(found.pixels), tuple(-(-side // encoder.stride) for side in shape)
    wanted = {
        "stride": (found.stride, encoder.stride),
        "pixels": (tuple(found.pixels.shape), (2, encoder.channels, *cells)),
        "seen": (tuple(found.seen.shape), (2, *cells)),
        "scene": (tuple(found.scene().shape), (2, encoder.scene_channels)),
        "levels of the pyramid": (len(found.pyramid), len(encoder.pyramid)),
    }
    for what, (got, declared) in wanted.items():
        _that(
            got == declared,
            f"{what} of chips of {shape.rows} x {shape.cols} is {got}; declared is {declared}",
        )
    covered = set()
    for image, level in zip(found.pyramid, encoder.pyramid, strict=True):
        got = tuple(image.shape[:2])
        _that(
            got == (chips, level.channels),
            f"a level of the pyramid is {got}; declared is {(chips, level.channels)}",
        )
        covered.add(tuple(side * level.stride for side in image.shape[-2:]))
    _that(len(covered) <= 1, f"levels of the pyramid cover different windows: {sorted(covered)}")
    whole = all(c >= s for window in covered for c, s in zip(window, shape, strict=True))
    _that(whole, f"the pyramid covers {sorted(covered)} of {shape.rows} x {shape.cols} pixels")


def what_was_not_seen_has_no_influence(encoder: Encoder, seed: int = 0) -> None:
    """Whatever stands under the mask."""
    batch = batch_of(encoder, seed)
    other, exact = batch, outputs(encoder, batch)
    for spec in encoder.layers:
        layer = batch.layers[spec.key]
        hidden = ~layer.valid[:, :, None].expand_as(layer.pixels)
        other = _with_layer(other, spec, layer.pixels.masked_fill(hidden, _LOUD), layer.valid)
    _that(same(exact, outputs(encoder, other)), "values under the mask change the features")


def what_was_seen_has_some(encoder: Encoder, seed: int = 0) -> None:
    """Of every layer; no law for an encoder of the place alone."""
    known, batch = statistics_of(encoder), batch_of(encoder, seed, clear=True)
    exact = outputs(encoder, batch)
    for spec in encoder.layers:
        layer, std = batch.layers[spec.key], torch.tensor(known[spec.key].std)[:, None, None]
        other = _with_layer(batch, spec, layer.pixels + std, layer.valid)
        _that(not same(exact, outputs(encoder, other)), f"values of {spec.key} change nothing")


def a_missing_layer_is_one_that_saw_nothing(encoder: Encoder, seed: int = 0) -> None:
    """A chip without a sensor, beside one with it, is as one in which clouds hide all of it."""
    known = statistics_of(encoder)
    chips = [chip_of(encoder.layers, known, seed + n, clear=True) for n in range(2)]
    for spec in encoder.layers:
        lacking = {key: layer for key, layer in chips[0].layers.items() if key != spec.key}
        without = _side_by_side(encoder, [replace(chips[0], layers=lacking), chips[1]])
        full = _side_by_side(encoder, chips)
        pixels, valid = (t.clone() for t in _parts(full.layers[spec.key]))
        pixels[0], valid[0] = torch.nan, False
        clouded = outputs(encoder, _with_layer(full, spec, pixels, valid))
        found = outputs(encoder, without)
        _that(all(bool(t.isfinite().all()) for t in found), f"without {spec.key} not finite")
        _that(same(clouded, found), f"a chip without {spec.key} differs from one that saw nothing")
        beside = [each[1] for each in found], [each[1] for each in outputs(encoder, full)]
        _that(same(*beside), f"a chip changes when the one beside it lacks {spec.key}")


def a_gradient_reaches_every_parameter(encoder: Encoder, seed: int = 0) -> None:
    """On chips that saw everything; dropout is off, so that none is hidden by chance."""
    encoder = copy.deepcopy(encoder).train()
    for module in encoder.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    found: Features = encoder(batch_of(encoder, seed, Shape2d(64, 64), clear=True))
    generator = torch.Generator().manual_seed(seed)
    loss = found.scene().square().sum()
    for image in (found.pixels, *found.pyramid):
        loss = loss + (image * torch.rand(image.shape, generator=generator)).sum()
    trained = {name: each for name, each in encoder.named_parameters() if each.requires_grad}
    if trained:
        _that(loss.requires_grad, f"no gradient reaches {', '.join(trained)}")
        torch.autograd.backward(loss)
    idle = [name for name, each in trained.items() if each.grad is None or not each.grad.any()]
    _that(not idle, f"no gradient reaches {', '.join(idle)}")


def it_is_made_again_from_what_is_saved(encoder: Encoder, seed: int = 0) -> None:
    """From the JSON of its config and its tensors, to the last bit: as a saved model is read."""
    from safetensors.torch import load, save

    config = json.loads(json.dumps(config_of(encoder)))
    blank = {
        each.key: Statistics((0.0,) * len(each.bands), (1.0,) * len(each.bands))
        for each in encoder.layers
    }
    again = build(config, encoder.layers, blank)
    tensors = {name: each.contiguous() for name, each in encoder.state_dict().items()}
    try:
        again.load_state_dict(load(save(tensors)))
    except RuntimeError as error:  # torch's and safetensors' word for tensors that do not fit
        raise ContractError(f"its tensors do not fit what its config makes: {error}") from error
    batch = batch_of(encoder, seed)
    found = zip(outputs(encoder, batch), outputs(again.eval(), batch), strict=True)
    _that(
        all(torch.equal(*both) for both in found),
        "made again from its config and tensors, it gives other features",
    )
    for what in ("radius", "stride", "alignment", "is_local", "channels", "pyramid"):
        first, second = getattr(encoder, what), getattr(again, what)
        _that(first == second, f"made again, its {what} is {second}; it was {first}")


def other_bands_are_refused(encoder: Encoder, seed: int = 0) -> None:
    """Bands in another order, another unit, a layer that is not there."""
    specs = {spec.key: spec for spec in encoder.layers}
    encoder.check(specs)
    first = encoder.layers[0]
    wrong = {
        "another unit": specs | {first.key: replace(first, unit="furlong")},
        "a missing layer": {key: spec for key, spec in specs.items() if key != first.key},
    }
    if len(first.bands) > 1:
        turned = first.with_bands(tuple(reversed(range(len(first.bands)))))
        wrong["bands in another order"] = specs | {first.key: turned}
    for what, given in wrong.items():
        try:
            encoder.check(given)
        except ContractError:
            continue
        raise ContractError(f"its check lets {what} pass")


def bf16_gives_nearly_the_same(encoder: Encoder, seed: int = 0) -> None:
    """Under autocast to bfloat16: features stay float32, and within 10% of their length."""
    batch = batch_of(encoder, seed)
    exact = outputs(encoder, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = outputs(encoder, batch)
    for first, second in zip(exact, rough, strict=True):
        _that(second.dtype == torch.float32, f"under autocast features are {second.dtype}")
        share = float((first - second).norm() / first.norm().clamp_min(1e-12))
        _that(share < _CLOSE_BF16, f"in bfloat16 features are {share:.1%} of their length apart")


def bands_have_no_order(encoder: Encoder, seed: int = 0) -> None:
    """Made for its bands in reverse, with the same tensors, it gives the same of the same chips.

    No law of all encoders: those whose tensors go by a band's position know one order alone.
    """
    known, specs = statistics_of(encoder), []
    for spec in encoder.layers:
        order = tuple(reversed(range(len(spec.bands))))
        specs.append(spec.with_bands(order))
        mean, std = (tuple(each[at] for at in order) for each in _both(known[spec.key]))
        known[spec.key] = Statistics(mean, std)
    turned = build(config_of(encoder), tuple(specs), known).eval()
    own = {f"{what}_{key.replace('.', '_')}" for what in ("mean", "std") for key in known}
    tensors = {n: t for n, t in encoder.state_dict().items() if n.rsplit(".", 1)[-1] not in own}
    turned.load_state_dict(turned.state_dict() | tensors)
    batch = other = batch_of(encoder, seed)
    for spec in encoder.layers:
        layer = batch.layers[spec.key]
        other = _with_layer(other, spec, layer.pixels.flip(2), layer.valid)
    _that(
        same(outputs(encoder, batch), outputs(turned, other)),
        "the same bands in another order give other features",
    )


def it_sees_no_further_than_its_radius(encoder: Encoder, seed: int = 0) -> None:
    """Of one that `is_local`, or maps have seams. Radii above 32 pixels are not tried."""
    if not encoder.is_local or encoder.radius > _WIDEST:
        return
    step = math.lcm(encoder.alignment, *(spec.factor for spec in encoder.layers))
    far = -(-encoder.radius // step) * step
    batch = batch_of(encoder, seed, Shape2d(step * 2, step * 3 + far), clear=True)
    other = batch
    for spec in encoder.layers:
        layer = batch.layers[spec.key]
        pixels = layer.pixels.clone()
        pixels[..., : step // spec.factor] *= 1.5
        other = _with_layer(other, spec, pixels, layer.valid)
    beyond = (step + encoder.radius + encoder.stride - 1) // encoder.stride
    found = (outputs(encoder, each)[0][..., beyond:] for each in (batch, other))
    _that(
        same(*([each] for each in found)),
        f"a feature changes with pixels more than its radius of {encoder.radius} pixels away; "
        "state a larger radius, or is_local = False",
    )


Law: TypeAlias = Callable[[Encoder, int], None]

LAWS: Mapping[str, Law] = {
    each.__name__: each
    for each in (
        features_are_as_declared,
        what_was_not_seen_has_no_influence,
        what_was_seen_has_some,
        a_missing_layer_is_one_that_saw_nothing,
        a_gradient_reaches_every_parameter,
        it_is_made_again_from_what_is_saved,
        other_bands_are_refused,
        bf16_gives_nearly_the_same,
        it_sees_no_further_than_its_radius,
    )
}
"""Of every encoder, by name; each takes one that is `ready`, and a seed."""


def _that(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ContractError(otherwise)


def _side_by_side(encoder: Encoder, chips: Sequence[Chip]) -> Batch:
    batch = collate_ragged(chips, {spec.key: spec for spec in encoder.layers})
    if not encoder.needs_moments:
        return batch
    known = statistics_of(encoder)
    each_date = [known[spec.key] for spec in encoder.layers for _ in spec.dates]
    mean = torch.tensor([value for each in each_date for value in each.mean])
    std = torch.tensor([value for each in each_date for value in each.std])
    mean, std = (each.expand(len(chips), -1) for each in (mean, std))
    return replace(batch, mean=mean, covariance=torch.diag_embed(std.square()))


def _with_layer(batch: Batch, spec: LayerSpec, pixels: Tensor, valid: Tensor) -> Batch:
    layer = batch.layers[spec.key]
    changed = LayerBatch(pixels, valid, layer.days, layer.dated, layer.measured)
    return replace(batch, layers=dict(batch.layers) | {spec.key: changed})


def _parts(layer: LayerBatch) -> tuple[Tensor, Tensor]:
    return layer.pixels, layer.valid


def _both(known: Statistics) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return known.mean, known.std


def _apart(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    return float((one - other).abs().max() / one.abs().max().clamp_min(1.0))
