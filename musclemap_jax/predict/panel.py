"""The panel of the annotated video: body map and bars of one window, drawn with Pillow.

Sizes are in units of which 1,080 make the short side of the video.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from musclemap_jax.predict import body_map
from musclemap_jax.predict.shading import Shading
from musclemap_jax.reporting.formatting import whole_percent

HEAT, FLESH, MUSCLE = (255, 129, 51), (45, 55, 66), (70, 82, 95)
"""RGB, those of the page on a dark ground."""

_GROUND, _INK, _SOFT, _TRACK = (18, 24, 31, 205), (238, 242, 246), (169, 180, 192), (64, 75, 87)
_WIDTH, _MARGIN, _TITLE, _ROW = 420.0, 20.0, 44.0, 33.0
_MAP_GAP = 16.0
_NAME_WIDTH, _PERCENT_WIDTH = 188.0, 76.0
_TEXT, _TITLE_TEXT = 20.0, 23.0
_MAX_ROWS = 10
_MIN_SCALE = 0.5
_MAX_FRACTION = 0.45
"""Of the frame's width; narrower frames have a smaller panel."""

_OVERSAMPLING = 2


@dataclasses.dataclass(frozen=True)
class PanelLayout:
    """Where things are, in units.

    Attributes:
      scale: Pixels in a unit.
      with_map: Whether the regions have a body map.
      num_rows: Regions that have a bar.
      height: Height of the panel.
    """

    scale: float
    with_map: bool
    num_rows: int
    height: float

    @property
    def map_width(self) -> float:
        """Width of one view of the body."""
        return (_WIDTH - 2 * _MARGIN - _MAP_GAP) / 2

    @property
    def map_height(self) -> float:
        """Height of the body map, with the gap below it; 0 without one."""
        return self.map_width * body_map.BOX[3] / body_map.BOX[2] + _MAP_GAP if self.with_map else 0.0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the panel in pixels."""
        return round(self.height * self.scale), round(_WIDTH * self.scale)


def panel_layout(frame_size: tuple[int, int], regions: Sequence[str]) -> PanelLayout:
    """Fits the panel into frames of (height, width) pixels: as many bars as there is room for, ten at most."""
    height, width = frame_size
    layout = PanelLayout(1.0, body_map.has_body_map(regions), 0, 0.0)
    fixed = 2 * _MARGIN + _TITLE + layout.map_height
    scale = min(max(min(frame_size) / 1080, _MIN_SCALE), _MAX_FRACTION * width / _WIDTH, height / (fixed + _ROW))
    num_rows = min(_MAX_ROWS, len(regions), int((height / scale - fixed) / _ROW + 1e-6))
    return dataclasses.replace(layout, scale=scale, num_rows=num_rows, height=fixed + num_rows * _ROW)


def draw_panel(layout: PanelLayout, shading: Shading, order: Sequence[int]) -> np.ndarray:
    """Draws the panel of one window.

    Args:
      layout: Where things are.
      shading: The window's values.
      order: Indices of the regions; the first ones have a bar.

    Returns:
      uint8 (height, width, 4) RGBA, not premultiplied.
    """
    scale = layout.scale * _OVERSAMPLING
    height, width = layout.size
    image = Image.new("RGBA", (width * _OVERSAMPLING, height * _OVERSAMPLING), _GROUND)
    draw = ImageDraw.Draw(image)
    title = "Active muscle regions" if np.isfinite(shading.probabilities).any() else "No answer here"
    draw.text((_MARGIN * scale, _MARGIN * scale), title, _INK, _font("DejaVuSans-Bold", _TITLE_TEXT * scale))
    top = _MARGIN + _TITLE
    if layout.with_map:
        for place, view in enumerate(body_map.VIEWS):
            left = _MARGIN + place * (layout.map_width + _MAP_GAP)
            unit = layout.map_width / body_map.BOX[2] * scale
            corner = np.array([left, top]) * scale - unit * np.array(body_map.BOX[:2])
            _draw_body(draw, view, corner, unit, body_map.shade(view, shading))
        top += layout.map_height
    for row, k in enumerate(order[: layout.num_rows]):
        probability, active = float(shading.probabilities[k]), bool(shading.active[k].any())
        _draw_bar(draw, top + row * _ROW, scale, shading.regions[k], probability, active)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _draw_body(
    draw: ImageDraw.ImageDraw, view: str, corner: np.ndarray, unit: float, shaded: Sequence[body_map.ShadedShape]
) -> None:
    for shape in body_map.body_shapes(view):
        outline = _points(shape, corner, unit)
        draw.polygon(outline, FLESH)
        draw.line([*outline, *outline[:2]], FLESH, round(body_map.BODY_STROKE * unit), joint="curve")
    for drawn in sorted(shaded, key=lambda each: each.active):
        colour = tuple(round(low + drawn.strength * (high - low)) for low, high in zip(MUSCLE, HEAT, strict=True))
        outline = _points(drawn.shape, corner, unit)
        draw.polygon(outline, colour)
        if drawn.active:
            draw.line([*outline, *outline[:2]], _INK, max(1, round(unit)), joint="curve")


def _points(shape: body_map.Shape, corner: np.ndarray, unit: float) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in corner + unit * shape.outline]


def _draw_bar(draw: ImageDraw.ImageDraw, top: float, scale: float, name: str, probability: float, active: bool) -> None:
    middle = (top + _ROW / 2) * scale
    font = _font("DejaVuSans-Bold" if active else "DejaVuSans", _TEXT * scale)
    ink = _INK if active else _SOFT
    draw.text((_MARGIN * scale, middle), _fitting(name, font, (_NAME_WIDTH - 8) * scale), ink, font, anchor="lm")
    draw.text(((_WIDTH - _MARGIN) * scale, middle), whole_percent(probability), ink, font, anchor="rm")
    left, right = (_MARGIN + _NAME_WIDTH) * scale, (_WIDTH - _MARGIN - _PERCENT_WIDTH) * scale
    box = [left, middle - 6 * scale, right, middle + 6 * scale]
    draw.rounded_rectangle(box, 3 * scale, _TRACK)
    filled = left + float(np.nan_to_num(probability)) * (right - left)
    if filled - left >= 1:
        draw.rounded_rectangle(
            [left, box[1], filled, box[3]], min(3 * scale, (filled - left) / 2), HEAT if active else _SOFT
        )


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, cut with an ellipsis if it is wider."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@functools.cache
def _font(name: str, size: float) -> ImageFont.FreeTypeFont:
    """A font that comes with matplotlib, so that every machine draws the same."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), max(1.0, size))
