"""A rich console that prints data verbatim."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from textssl.errors import printable


class Terminal(Console):
    """Prints strings as they are, not as rich's markup or emoji codes, with control characters made harmless.

    That holds for texts in tables and titles too; styles are given separately, as `style` or in a Text.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
