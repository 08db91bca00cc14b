"""live/report.html: one self-contained page, how a service is doing, that renews itself."""

from datetime import UTC, datetime
from html import escape
from typing import Any

from shared.drift import CERTAIN
from shared.objectives import KeyResult, Objectives
from shared.requestlog import shortened

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:72em;margin:2em auto;padding:0 1em}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(21em,1fr));gap:1em}
.card{border:1px solid #ddd;border-left:6px solid #999;padding:.7em 1em}
.good{border-left-color:#2a8f4a} .bad{border-left-color:#c62828}
.card b{font-size:1.5em} .card p{margin:.2em 0;color:#555;font-size:.85em}
svg{width:100%;height:6em;background:#f7f8fa}
td{padding:.1em 1.2em .1em 0;color:#555;font-size:.85em;vertical-align:top}
"""
WIDTH, HEIGHT, SHOWN, EVENTS = 300, 90, 60, 20


def page(
    loaded: Objectives,
    histories: dict[str, list[dict[str, Any]]],
    values: dict[str, Any],
    counts: dict[str, int],
    events: list[dict[str, Any]],
) -> str:
    """The document. histories: of each key result its windows; values: as live/values.json;
    events: lines of the audit log, oldest first."""
    asked = {one.id: one.text for one in loaded.requirements}
    cards = [
        card(one, asked[one.requirement], histories.get(one.id), values) for one in loaded.live
    ]
    truths = ", ".join(f"{number} {name}" for name, number in counts.items())
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    title = escape(loaded.name)
    head = '<meta charset="utf-8"><meta http-equiv="refresh" content="5">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}, live</h1>"
        f"<p>{escape(loaded.problem.strip())}</p>"
        f'<div class="cards">{"".join(cards)}</div>'
        f"<p>Truths: {truths}. Each dot is a window, its line the range of chance; the dashed line "
        f"is the target, a change of colour another model. Written {now}.</p>"
        f"{story(events[-EVENTS:])}</body></html>\n"
    )


def story(events: list[dict[str, Any]]) -> str:
    """What alerts led to, a row per step."""
    rows = []
    for event in events:
        moment = datetime.fromtimestamp(event["time"], UTC).strftime("%d %b %H:%M:%S")
        left_out = ("time", "event", "incident", "began")
        told = {key: one for key, one in event.items() if key not in left_out}
        details = ", ".join(
            f"{key}: {one:.4g}" if isinstance(one, float) else f"{key}: {one}"
            for key, one in told.items()
        )
        cells = (moment, event["event"].replace("_", " "), shortened(details, 300))
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<h2>What was done</h2><table>{''.join(rows)}</table>" if rows else ""


def card(
    result: KeyResult,
    requirement: str,
    history: list[dict[str, Any]] | None,
    values: dict[str, Any],
) -> str:
    """One key result: newest value, target, verdict, its windows, where it is one of windows."""
    state = values.get(result.id)
    kind = "" if state is None else "bad" if state["breached"] else "good"
    verdict = {"": "", "bad": f"missed, then: {result.then}", "good": "holds"}[kind]
    if history is None:
        value, known = values.get(result.metric), []
        newest = "not known" if value is None else f"{value:.3g}"
        details = f"of five minutes, by Prometheus; missed when for {result.hold}; {verdict}"
    else:
        known = [one for one in history if one["value"] is not None]
        newest = f"{known[-1]['value']:.3g}" if known else "no window yet"
        details = f"{result.window}, missed when {result.hold}; {verdict}"
    return (
        f'<div class="card {kind}"><p>{result.id} {escape(requirement)}</p>'
        f"<b>{newest}</b> {escape(result.metric)} {escape(result.target)}"
        f"{'' if history is None else chart(result, known[-SHOWN:])}<p>{escape(details)}</p></div>"
    )


def chart(result: KeyResult, windows: list[dict[str, Any]]) -> str:
    """The windows' values over time with the target, as SVG."""
    target = result.at_least if result.at_least is not None else result.at_most
    assert target is not None
    values = [one["value"] for one in windows]
    low, high = min([target, *values]), max([target, *values])
    room = (high - low) * 0.15 or abs(target) * 0.1 or 0.1
    low, high = low - room, high + room

    def place(value: float) -> float:
        clipped = min(max(value, low), high)
        return float(HEIGHT * (1 - (clipped - low) / (high - low)))

    step, parts = WIDTH / max(len(windows), 10), []
    models = list(dict.fromkeys(one["model"] for one in windows))
    for number, one in enumerate(windows):
        x, colour = (number + 0.5) * step, ["#3366cc", "#e07b00"][models.index(one["model"]) % 2]
        reach = min(CERTAIN * one["error"], high - low)
        top, bottom = place(one["value"] + reach), place(one["value"] - reach)
        fill = "#c62828" if one["missed"] else colour
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{colour}"/>'
            f'<circle cx="{x:.1f}" cy="{place(one["value"]):.1f}" r="3" fill="{fill}"/>'
        )
    y = f"{place(target):.1f}"
    line = f'<line x1="0" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="#555" stroke-dasharray="5 4"/>'
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
    return f'<svg {box} role="img" aria-label="windows">{line}{"".join(parts)}</svg>'
