"""A component in a checked config."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ComponentSettings:
    """A component that the config chooses by name.

    Attributes:
        name: its registered name.
        params: all of its parameters, checked. One that names another component is a name or a mapping with `name`.
    """

    name: str
    params: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Returns the component as its section of the config: the name, the shared keys, the parameters."""
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[2:]}
        return {"name": self.name, **shared, **self.params}
