"""Draws the ratios to the floor as SVG for light and dark backgrounds."""

from xml.sax.saxutils import escape

from benchmarks.targets import Target

_ROW_HEIGHT, _BAR_HEIGHT, _LEFT, _WIDTH, _TOP = 34, 11, 215, 560, 58
_LABEL_WIDTH = 32
_MAX_RATIO = 3.0  # Longer bars are cut off here; their label still shows the ratio.
_TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; font-size: 15px; }
.value { font-size: 11px; }
.sqlite { fill: #1f77b4; }
.postgresql { fill: #e08214; }
.floor { stroke: #8c959f; }
.target { stroke: #c0392b; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .sqlite { fill: #58a6ff; }
  .postgresql { fill: #f0a04b; }
  .target { stroke: #ff7b72; }
}
"""


def draw(ratios: list[Target], title: str) -> str:
    """Draw a bar for each operation and database kind, and a line at the target."""
    height = _TOP + _ROW_HEIGHT * len(ratios) + 30
    bottom = _TOP + _ROW_HEIGHT * len(ratios)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 60} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="10" y="22">{escape(title)}</text>',
        *_legend(next(iter(ratios)).measured.keys() if ratios else ()),
    ]
    for times in range(int(_MAX_RATIO) + 1):
        x = _x(times)
        opacity = 1 if times == 1 else 0.3
        parts.append(f'<line class="floor" x1="{x}" x2="{x}" y1="{_TOP - 6}" y2="{bottom}" opacity="{opacity}"/>')
        parts.append(f'<text class="value" x="{x}" y="{bottom + 16}" text-anchor="middle">{times} ×</text>')
    for row, target in enumerate(ratios):
        y = _TOP + row * _ROW_HEIGHT
        name = target.name.removesuffix(" ÷ floor")
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        for position, (kind, ratio) in enumerate(target.measured.items()):
            parts += _bar(kind, ratio, y + position * (_BAR_HEIGHT + 1), _x(target.limit))
        x = _x(target.limit)
        parts.append(f'<line class="target" x1="{x}" x2="{x}" y1="{y - 2}" y2="{y + 2 * _BAR_HEIGHT + 3}"/>')
    return "\n".join([*parts, "</svg>", ""])


def _bar(kind: str, ratio: float, y: float, target_x: float) -> list[str]:
    end = _x(min(ratio, _MAX_RATIO))
    # The label keeps clear of the line of the target.
    label_x = max(end, target_x) + 5 if end > target_x - _LABEL_WIDTH else end + 5
    return [
        f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="{_BAR_HEIGHT}" rx="1"/>',
        f'<text class="value" x="{label_x:.1f}" y="{y + _BAR_HEIGHT - 1}">{ratio:.2f}</text>',
    ]


def _legend(kinds: object) -> list[str]:
    parts, x = [], 10
    for kind in kinds:  # type: ignore[attr-defined]
        parts.append(f'<rect class="{kind}" x="{x}" y="34" width="11" height="11"/>')
        parts.append(f'<text class="value" x="{x + 16}" y="44">{_TITLES[kind]}</text>')
        x += 96
    parts.append(f'<line class="target" x1="{x + 5}" x2="{x + 5}" y1="33" y2="46"/>')
    parts.append(f'<text class="value" x="{x + 12}" y="44">target; 1 × is the floor</text>')
    return parts


def _x(ratio: float) -> float:
    return round(_LEFT + ratio / _MAX_RATIO * _WIDTH, 1)
