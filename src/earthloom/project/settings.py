"""What every part of the project file has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of every part of the project file: frozen, and no key is accepted that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def as_inputs(self) -> dict[str, Any]:
        """The settings as JSON values, for a stage's manifest."""
        return self.model_dump(mode="json")
