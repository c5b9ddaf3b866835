"""Describes one input or output of a signature."""

import dataclasses
import enum
from typing import Any, Optional


class Kind(enum.Enum):
    """Names the JSON values that a tensor's elements are."""

    BOOL = enum.auto()
    INTEGER = enum.auto()
    FLOAT = enum.auto()
    STRING = enum.auto()
    # Resources, variants and complex numbers: JSON has no words for them.
    NONE = enum.auto()


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """Holds a name, a type and a shape.

    >>> print(TensorSpec("image", "uint8", (None, 28, 28), Kind.INTEGER))
    uint8 [batch, 28, 28]

    Attributes:
      name: The name in requests and responses.
      dtype: TensorFlow's name of its type, such as `uint8`.
      shape: A `None` in it has any size; a shape of `None` has any rank.
      kind: The JSON values that it takes.
      numpy: The type of its arrays; `None` for strings (arrays of objects).
      low: For integers, the least.
      high: For integers, the greatest.
    """

    name: str
    dtype: str
    shape: Optional[tuple[Optional[int], ...]]
    kind: Kind
    numpy: Any = None
    low: int = 0
    high: int = 0

    def __str__(self) -> str:
        """Returns the type and shape for people: "uint8 [batch, 28, 28]"."""
        if self.shape is None:
            return f"{self.dtype} of any shape"
        sizes = [
            ("any" if place else "batch") if size is None else str(size)
            for place, size in enumerate(self.shape)
        ]
        return f"{self.dtype} [{', '.join(sizes)}]"
