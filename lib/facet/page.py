"""The report's page: `reports/<profile>/index.html`, one file with relative links, readable on a phone.

Everything it shows stands in the folder beside it. What changes from run to run (commit, durations) stays in
`provenance.json`, so that the page is the same when the results are.
"""

import html
import re
from pathlib import Path

from facet import jobs, profiles, provenance
from facet.files import write_text
from facet.paths import NOTEBOOKS, REPORTS

ROWS_SHOWN, ROWS_HELD = 24, 120  # of a table: unfolded, and in the page at all

STYLE = """
:root { --ink: #1d2433; --soft: #5b6576; --line: #dfe3ea; --tint: #f6f7f9; --accent: #1f5fa8; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
       background: #fff; }
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.1rem; }
header { padding-top: 2.2rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.35rem; margin: 0 0 .3rem; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--accent); text-decoration: none; } a:hover, a:focus { text-decoration: underline; }
code { font: .88em ui-monospace, Menlo, Consolas, monospace; background: var(--tint); padding: .05em .3em; }
.soft { color: var(--soft); } .small { font-size: .87rem; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin: 1.1rem 0 .4rem; }
nav a { border: 1px solid var(--line); border-radius: 1rem; padding: .15rem .75rem; font-size: .9rem; }
section { border-top: 1px solid var(--line); padding: 1.7rem 0 1.2rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.3rem;
           align-items: start; margin: 1rem 0; }
.figures:has(> :only-child) { grid-template-columns: minmax(0, 48rem); }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .9rem; margin-top: .35rem; }
img { max-width: 100%; height: auto; display: block; }
iframe { width: 100%; height: 26rem; border: 1px solid var(--line); border-radius: .4rem; }
.scroll { overflow-x: auto; margin: .5rem 0; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { background: var(--tint); font-weight: 600; } td.number, th.number { text-align: right; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--accent); }
footer { color: var(--soft); font-size: .87rem; border-top: 1px solid var(--line);
         padding: 1.2rem 1.1rem 3rem; }
"""


def write(profile: str) -> Path:
    """Write the page of a profile from what its report folder holds.

    Returns:
        Path of the page.
    """
    home = REPORTS / profile
    path = home / "index.html"
    write_text(path, page(profile, home))
    return path


def page(profile: str, home: Path) -> str:
    """The page as HTML text."""
    entries = provenance.read(home / "provenance.json")
    notebooks = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    shown = [(p, [k for k in sorted(entries) if k.split("-")[0] == p.stem]) for p in notebooks]
    links = [f'<a href="#{p.stem}">{_number(p)} {_text(_title(p)[0])}</a>' for p, keys in shown if keys]
    waiting = [f"<code>{p.stem}</code>" for p, keys in shown if not keys]
    sections = [_section(p, keys, entries, home) for p, keys in shown if keys]
    note = f'<p class="soft small">Not run in this profile yet: {", ".join(waiting)}.</p>' if waiting else ""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>facet: report, profile {profile}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<header><h1>facet: a 3D face from one or two photographs</h1>{_sizes(profile)}",
            f"<nav>{''.join(links)}</nav>{note}</header>\n<main>",
            *sections,
            f"</main>\n{_footer(profile, entries)}\n</body>\n</html>\n",
        ]
    )


def _sizes(name: str) -> str:
    p = profiles.load(name)
    return (
        f"<p>Results of the profile <strong>{name}</strong>: photographs and position maps of "
        f"{p.image_size} pixels, networks of width {p.width:g}, {p.samples:,} training images for every "
        f"position-map network that is compared, {p.people['test']} test people.</p>"
    )


def _title(notebook: Path) -> tuple[str, str]:
    heading, text = jobs.title(notebook)
    return re.sub(r"^\d+\s*[:.]?\s*", "", heading), text


def _number(notebook: Path) -> str:
    return notebook.stem.split("_")[0]


def _text(markdown: str) -> str:
    """Inline Markdown as HTML: code, bold, emphasis; links and pictures leave their words."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", markdown)
    text = html.escape(re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text))
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"<em>\1</em>", text).strip()


def _section(notebook: Path, keys: list[str], entries: dict, home: Path) -> str:
    heading, text = _title(notebook)
    parts = [
        f'<section id="{notebook.stem}">\n<h2>{_number(notebook)} {_text(heading)}</h2>\n<p>{_text(text)}</p>'
    ]
    for key in keys:
        told = sorted(entries[key]["artefacts"].items(), key=lambda item: item[1].get("place", 0))
        artefacts = {n: a for n, a in told if (home / n).is_file()}
        if len(keys) > 1:
            parts.append(f'<p class="soft"><code>{html.escape(key)}</code></p>')
        figures = [_figure(n, a) for n, a in artefacts.items() if a["kind"] == "figure"]
        figures += [_viewer(n, a) for n, a in artefacts.items() if a["kind"] == "viewer"]
        parts.append(f'<div class="figures">{"".join(figures)}</div>' if figures else "")
        parts += [_table(home / n, n, a["caption"]) for n, a in artefacts.items() if a["kind"] == "table"]
    executed = f"notebooks/{keys[0]}.html"  # not stored: a checkout has it after `facet report` only
    links = [f'<a href="../../notebooks/{notebook.name}">as stored</a>']
    links += [f'<a href="{executed}">as executed</a>'] if (home / executed).is_file() else []
    parts.append(f'<p class="small">Notebook: {" · ".join(links)}</p>\n</section>')
    return "\n".join(part for part in parts if part)


def _figure(name: str, artefact: dict) -> str:
    caption = _text(artefact["caption"])
    alt = html.escape(artefact["caption"] or Path(name).stem.replace("_", " "), quote=True)
    return (
        f'<figure><a href="{name}"><img src="{name}" alt="{alt}" loading="lazy"></a>'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def _viewer(name: str, artefact: dict) -> str:
    title = html.escape(artefact["caption"] or Path(name).stem, quote=True)
    return (
        f'<figure><iframe src="{name}" title="{title}" loading="lazy"></iframe><figcaption>'
        f'{_text(artefact["caption"])} <a href="{name}">Open alone</a> (drag to turn)</figcaption></figure>\n'
    )


def _table(path: Path, name: str, caption: str) -> str:
    import pandas as pd

    frame = pd.read_csv(path, dtype={"seed": str}, keep_default_na=True)
    frame = frame.loc[:, [c for c in frame if frame[c].notna().any()]]
    numeric = {c for c in frame if pd.api.types.is_numeric_dtype(frame[c])}
    head = "".join(f"<th{_right(c in numeric)}>{html.escape(str(c))}</th>" for c in frame)
    held = frame if len(frame) <= ROWS_HELD else frame.head(ROWS_SHOWN)
    rows = [
        "".join(f"<td{_right(c in numeric)}>{_value(v)}</td>" for c, v in r.items())
        for _, r in held.iterrows()
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    if len(frame) > ROWS_SHOWN:
        words = f"{len(frame)} rows" if held is frame else f"the first {len(held)} of {len(frame)} rows"
        table = f"<details><summary>{words}</summary>{table}</details>"
    words = _text(caption) or html.escape(path.stem.replace("_", " "))
    links = f'<a href="{name}">csv</a>'
    if path.with_suffix(".md").is_file():
        links += f' · <a href="{Path(name).with_suffix(".md").as_posix()}">md</a>'
    return f'<p><strong>{words}</strong> <span class="small">{links}</span></p>\n{table}'


def _right(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _value(value) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))


def _footer(profile: str, entries: dict) -> str:
    hosts = [e["machine"] for e in entries.values() if "machine" in e]
    machines = sorted({f"{m['processor']}, {m['cores']} cores" for m in hosts})
    machines += sorted({m["gpu"] for m in hosts if "gpu" in m})
    versions = sorted({f"{k} {v}" for e in entries.values() for k, v in e.get("versions", {}).items()})
    return (
        "<footer><p>Made with "
        + html.escape(", ".join(versions) or "nothing yet")
        + " on "
        + html.escape("; ".join(machines) or "no machine")
        + '. Commit, duration, parameters and input checksums of every notebook: <a href="provenance.json">'
        f"provenance.json</a>. Made again by <code>make report PROFILE={profile}</code>.</p></footer>"
    )
