"""The status page as bytes: HTML by Twisted's templates, which escape all text, and the same cells as JSON for the page's own script.

Roles are written out, since on a phone the rows of tables are drawn as cards, and a browser takes
what is not drawn as a table for none.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.web.template import Tag, flattenString, tags

from dtcxen_soap.wire.statusview import Cell, Page, Table

HTML, JSON = "text/html; charset=utf-8", "application/json"
LIVE_SECONDS, QUIET_SECONDS, UNSCRIPTED_SECONDS = 2, 10, 15
"""How often a page asks again: while jobs run, when none does, and without scripts."""
UNKNOWN_ROWS = "unknown: the node has not answered"
HEADERS = {
    "content-security-policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Of everything that a browser gets: nothing from elsewhere, nothing in frames, nothing kept, nothing for other origins."""


async def html(page: Page, refresh: bool = False, log: str | None = None, earlier: str = "") -> bytes:
    """A page that its script keeps up to date, or with `refresh` one that is fetched again as a whole; `log` goes beneath, told that `earlier` is left out."""
    body = [_head(page, scripted=log is None, refresh=refresh), tags.body(
        tags.header(tags.h1(page.title), tags.p(*(() if log is None else (tags.a("All of it", href="/"), " · ")), f"signed in as {page.signed_in}", class_="sub")),
        tags.p(f"As of {page.made}", id="news", role="status"),
        Tag("main")(*map(_section, page.tables), *(() if log is None else (_log(log, earlier),))))]
    text: bytes = await flattenString(None, tags.html(*body, lang="en"))
    return b"<!DOCTYPE html>\n" + text


def as_json(page: Page) -> bytes:
    """What the script fills in."""
    tables = {table.name: {"seen": table.seen, "rows": [[_plain(cell) for cell in row] for row in _rows(table)]} for table in page.tables}
    return json.dumps({"made": page.made, "seconds": LIVE_SECONDS if page.live else QUIET_SECONDS, "tables": tables}).encode()


def _plain(cell: Cell) -> dict[str, Any]:
    more = (("tone", cell.tone), ("link", cell.link), ("percent", cell.percent))
    return {"text": cell.text} | {name: value for name, value in more if value not in ("", None)}


def _head(page: Page, scripted: bool, refresh: bool) -> Tag:
    again = tags.meta(**{"http-equiv": "refresh", "content": str(LIVE_SECONDS * 2 if refresh else UNSCRIPTED_SECONDS)})
    parts = [tags.meta(charset="utf-8"), tags.title(page.title), tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
             tags.meta(name="color-scheme", content="light dark"), tags.link(rel="stylesheet", href="/status.css")]
    if scripted:
        parts += [tags.script(src="/status.js", defer="defer"), tags.noscript(again)]
    elif refresh:
        parts.append(again)
    return tags.head(*parts)


def _section(table: Table) -> Tag:
    """A heading, when it was seen, and the rows. Tiles are a table too: names head their rows."""
    columns = tags.thead(tags.tr(*(tags.th(name, scope="col", role="columnheader") for name in table.columns), role="row"), role="rowgroup")
    rows = tags.tbody(*(_row(table, row) for row in _rows(table)), role="rowgroup")
    drawn = tags.table(columns, rows, id=table.name, role="table", class_="tiles" if table.tiles else "rows", **{"aria-labelledby": f"about-{table.name}"})
    seen = tags.p(table.seen, class_="seen", id=f"seen-{table.name}")
    return tags.section(tags.h2(table.heading, id=f"about-{table.name}"), seen, drawn, **{"aria-labelledby": f"about-{table.name}"})


def _rows(table: Table) -> tuple[tuple[Cell, ...], ...]:
    """The rows, or the one that says why there are none: a single cell."""
    if table.rows is None:
        return ((Cell(UNKNOWN_ROWS, "unknown"),),)
    return table.rows or ((Cell(table.empty),),)


def _row(table: Table, row: tuple[Cell, ...]) -> Tag:
    if len(row) == 1:
        return tags.tr(_cell(tags.td(role="cell", colspan=str(len(table.columns)), class_=row[0].tone), row[0]), role="row")
    first = _cell(tags.th(scope="row", role="rowheader", class_=row[0].tone), row[0])
    others = (_cell(tags.td(role="cell", class_=cell.tone, **{"data-of": name}), cell) for name, cell in zip(table.columns[1:], row[1:], strict=True))
    return tags.tr(first, *others, role="row")


def _cell(drawn: Tag, cell: Cell) -> Tag:
    """The text in an element of its own, so that a direction of its own stays within it."""
    text = tags.a(cell.text, href=cell.link) if cell.link else tags.bdi(cell.text)
    bar = () if cell.percent is None else (tags.progress(max="100", value=str(cell.percent), **{"aria-label": "done"}),)
    return drawn(text, *bar)


def _log(text: str, earlier: str) -> Tag:
    note = (tags.p(earlier, class_="seen"),) if earlier else ()
    return tags.section(tags.h2("Log", id="about-log"), *note, tags.pre(text or "nothing yet", id="log"), **{"aria-labelledby": "about-log"})
