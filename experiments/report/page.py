"""The page: style and script inside, nothing outside; light and dark, wide and narrow."""

from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --soft: #5a5a5a;
  --grid: #dcdcdc; --bar: #f3f3f3; --good: #006b4f; --bad: #a23b00; --link: #00558c;
  --c0: #0072b2; --c1: #c07a00; --c2: #009e73; --c3: #b5568f; --c4: #2a8fc9; --c5: #d55e00;
  --c6: #8a8200; --c7: #7f7f7f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --soft: #a8a8a8;
  --grid: #3a3d41; --bar: #202327; --good: #4fd6a8; --bad: #ff9d5c; --link: #7cc4f5;
  --c0: #4aa8e0; --c1: #e69f00; --c2: #2fc79a; --c3: #dd93bd; --c4: #8accf2; --c5: #ff8a3d;
  --c6: #f0e442; --c7: #a8a8a8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
p { max-width: 46rem; } .soft { color: var(--soft); font-size: .875rem; }
a { color: var(--link); }
nav ul { columns: 18rem; padding-left: 1.2rem; }
.wide { overflow-x: auto; max-height: 36rem; border: 1px solid var(--grid); }
table { border-collapse: collapse; font-size: .8125rem; white-space: nowrap; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--grid); }
th { position: sticky; top: 0; background: var(--bar); padding: 0; }
th button { all: unset; cursor: pointer; padding: .4rem .6rem; display: block; width: 100%;
  box-sizing: border-box; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--link); outline-offset: -2px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
td.beaten, td.matched { color: var(--good); } td.short { color: var(--bad); }
.pictures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); }
figure { margin: 0; } figure svg { width: 100%; height: auto; display: block; }
figcaption { font-size: .8125rem; color: var(--soft); }
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, index = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[index].dataset.order;
    const rows = [...body.rows];
    rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");  // what is empty comes last
      const n = Number(x), m = Number(y);
      const order = Number.isNaN(n) || Number.isNaN(m) ? x.localeCompare(y) : n - m;
      return up ? order : -order;
    });
    body.append(...rows);
  });
}
"""


def page(title: str, body: str) -> str:
    """A whole HTML page.

    Args:
        title: of the page, as plain text.
        body: HTML.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
