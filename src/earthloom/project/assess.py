"""How a map is assessed."""

from typing import Annotated, Literal

from pydantic import Field

from earthloom.project.settings import Settings


class SampleAssessment(Settings):
    """Accuracy and area from a probability sample of the map: of classes a stratified one (Olofsson
    et al. 2014), of numbers a simple random one (difference estimator, Särndal et al. 1992)."""

    method: Literal["sample"]
    reference: str | None = None
    """What the sample's true classes or values come from: a raster of them, or the vector file of
    the sample that an interpreter has filled in. Without it the sample is drawn and written out,
    and the report says that the map has no accuracy yet."""
    points: int = Field(900, ge=20)
    min_per_class: int = Field(50, ge=2)
    """Plays no part in a map of numbers."""
    apart_m: float = Field(100.0, ge=0)
    """No sample point lies nearer to a training label than this."""
    truth: str | None = None
    """A raster that knows the truth everywhere, as only a simulated world has: the report then
    says whether the intervals hold it."""


class FoldsAssessment(Settings):
    """Accuracy by leaving out one group of labels after the other."""

    method: Literal["folds"]
    by: Literal["place", "blocks", "split"]
    """`place`: one place of the archive at a time; `blocks`: squares of `block` degrees, dealt
    to `folds` parts; `split`: the test of `chips.split`, once."""
    buffer_m: float = Field(0.0, ge=0)
    """Metres about tested chips in which nothing is trained on; a split has its own."""
    block: float = Field(1.0, gt=0)
    folds: int = Field(5, ge=2)
    focus: str | None = None
    """The class whose F1 and IoU are reported first, such as `change`."""
    baselines: tuple[Literal["forest", "change-vectors", "mean"], ...] = ()
    """What stands beside the model on the same folds: a random forest on the bands; for classes on
    two dates, change-vector analysis with an automatic threshold; for numbers, the mean of the
    labels that are fitted on."""


Assessment = Annotated[SampleAssessment | FoldsAssessment, Field(discriminator="method")]
