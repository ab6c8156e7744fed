"""Measures the contrast of text on an open page."""

from typing import Any

# For every visible element with text of its own: the WCAG 2 contrast of its colour with the colour
# behind it. Behind the text of plots is the page, since no text is on bars or maps.
_CONTRASTS = """() => {
  const parse = (colour) => {
    const n = colour.match(/[\\d.]+/g).map(Number);
    return n.length > 3 ? n : [...n, 1];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const colour = parse(getComputedStyle(element).backgroundColor);
    return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes]
      .filter((node) => node.nodeType === 3).map((node) => node.textContent.trim()).join("");
    if (!own || ["SCRIPT", "STYLE"].includes(element.tagName) || !element.getClientRects().length) {
      continue;
    }
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement;
    const below = behind(element);
    const colour = over(parse(drawn ? style.fill : style.color), below);
    const [dark, light] = [luminance(colour), luminance(below)].sort((a, b) => a - b);
    found.push([own.slice(0, 40), (light + 0.05) / (dark + 0.05)]);
  }
  return found;
}"""


def contrasts(page: Any) -> list[tuple[str, float]]:
    """Return each piece of visible text and its contrast, 1 to 21; WCAG AA requires 4.5."""
    return [(text, ratio) for text, ratio in page.evaluate(_CONTRASTS)]
