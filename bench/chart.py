"""Bar charts as SVG 1.1, drawn without any dependency: one panel a question, one bar an answer.

Pure functions from values to text. Light card, dark text, one accent: mreactor's bars stand out, the
others are quiet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from xml.sax.saxutils import escape

WIDTH = 820
MARGIN = 28
LABEL_WIDTH = 150
VALUE_WIDTH = 150
BAR_HEIGHT = 20
BAR_STEP = 27
TITLE_HEIGHT = 48
NOTE_STEP = 17
PANEL_HEAD = 44
FOOT_HEIGHT = 34
BAR_WIDTH = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH

STYLE = """
  text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2933 }
  .title { font-size: 19px; font-weight: 600 }
  .panel { font-size: 14px; font-weight: 600 }
  .quiet { fill: #66727f; font-size: 12px }
  .label { text-anchor: end }
  .strong { font-weight: 600 }
"""


class Tone(Enum):
    """What a bar is to the reader, as its fill colour."""

    OWN = "#1769aa"
    OWN_SECOND = "#3f9ad8"
    BASE = "#5b6770"
    OTHER = "#b4bec7"


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled value; `text` is what the reader sees of it."""

    label: str
    value: float
    text: str
    tone: Tone = Tone.OTHER


@dataclass(frozen=True, slots=True)
class Panel:
    """One question with its bars, all on one scale that starts at zero."""

    title: str
    unit: str
    bars: Sequence[Bar]


def svg(title: str, notes: Sequence[str], panels: Sequence[Panel]) -> str:
    """The whole chart: `notes` are the lines under the title that say where, when and how."""
    parts: list[str] = []
    top = TITLE_HEIGHT + NOTE_STEP * len(notes)
    for panel in panels:
        parts.append(drawn(panel, top))
        top += PANEL_HEAD + BAR_STEP * len(panel.bars)
    height = top + FOOT_HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{attribute(title)}">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#ffffff"/>\n'
        + text(MARGIN, 36, title, "title")
        + "".join(text(MARGIN, 56 + NOTE_STEP * place, note, "quiet") for place, note in enumerate(notes))
        + "".join(parts)
        + "</svg>\n"
    )


def drawn(panel: Panel, top: int) -> str:
    """One panel, its upper edge at `top`."""
    longest = max((bar.value for bar in panel.bars), default=0.0) or 1.0
    zero = MARGIN + LABEL_WIDTH
    bottom = top + PANEL_HEAD + BAR_STEP * len(panel.bars)
    head = text(MARGIN, top + 28, panel.title, "panel") + text(WIDTH - MARGIN, top + 28, panel.unit, "quiet label")
    rows = [row(bar, top + PANEL_HEAD + BAR_STEP * place, longest) for place, bar in enumerate(panel.bars)]
    axis = f'<path d="M{zero} {top + PANEL_HEAD - 4}V{bottom - 3}" stroke="#d5dbe1"/>\n'
    return f"<g>\n{head}{''.join(rows)}{axis}</g>\n"


def row(bar: Bar, top: int, longest: float) -> str:
    """One bar with its label to the left and its value to the right."""
    zero = MARGIN + LABEL_WIDTH
    width = max(1.0, BAR_WIDTH * bar.value / longest)
    strength = " strong" if bar.tone in (Tone.OWN, Tone.OWN_SECOND) else ""
    middle = top + BAR_HEIGHT - 5
    return (
        text(zero - 10, middle, bar.label, "label" + strength)
        + f'<rect x="{zero}" y="{top}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" '
        + f'fill="{bar.tone.value}"/>\n'
        + text(round(zero + width + 8), middle, bar.text, ("quiet" + strength).strip())
    )


def text(left: int, base: int, words: str, kind: str) -> str:
    return f'<text x="{left}" y="{base}" class="{kind}">{escape(words)}</text>\n'


def attribute(words: str) -> str:
    return escape(words, {'"': "&quot;"})
