"""The sections of ``report.html``: results, muscle regions, examples, training, data and the run itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from musclemap_jax.eval.metrics import Headline, Metrics
from musclemap_jax.eval.statistics import KNOWN, NEW, DataStatistics
from musclemap_jax.reporting import plots
from musclemap_jax.reporting.examples import Example, example_figure
from musclemap_jax.reporting.report_html import Html, image, join, pairs_table, row, table, tag
from musclemap_jax.reporting.tables import MACRO_ROW, percent

READING = (
    "mAP is the macro mean, over the muscle regions that at least one clip shows, of average precision (scikit-learn's "
    "definition). Known: activities seen in training, in other clips. New: activities that training never showed. "
    "Two floors need no model: the same score for every clip (all ones) reaches the share of clips that show a region, "
    "and a random order of the clips reaches a little more when they are few."
)


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """What a reader needs to judge a run and to do it again.

    Attributes:
      title: name of the run, such as the config's name.
      command: the command line that made it.
      config: the resolved config as text.
      parameters: part of the model -> number of parameters; the total is the page's own sum.
      times_s: name -> seconds, such as "training".
      versions: package -> version.
      facts: other lines, name -> text, such as "devices" -> "8 x TPU v5e".
      note: a sentence shown below the title, such as what the data is.
    """

    title: str
    command: str = ""
    config: str = ""
    parameters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    times_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    note: str = ""


def results(metrics: Metrics) -> Html:
    """Headline cards of test (of val where test was not evaluated) and the table of all splits."""
    headlines = metrics.headlines()
    shown = [name for name in headlines if name.startswith("test")] or list(headlines)
    cards = tag("div", *(_card(name, headlines[name], metrics) for name in shown), class_="cards")
    rows = []
    for name, headline in headlines.items():
        split = metrics.splits.get(name)
        clips, micro = (str(split.num_clips), percent(split.micro_ap)) if split else ("", "")
        above = _above(headline)
        cells = [name, clips, percent(headline.mean_ap), percent(headline.all_ones_floor)]
        rows.append(row([*cells, percent(headline.random_floor), above, micro], "" if split else "mean"))
    header = ["split", "clips", "mAP", "all ones", "random order", "above all ones", "micro AP"]
    note = tag("p", READING, class_="soft")
    return join(cards, table(header, rows, "All in per cent; a mean is that of known and new."), note)


def regions(metrics: Metrics, images: Mapping[str, bytes]) -> Html:
    """The chart of known against new, the table of all regions, and what stands out in it."""
    charts = []
    for kind in ("test", "val"):
        name = f"per_region_ap_{kind}"
        if name in images:
            alt = (
                f"Bars of average precision of each muscle region on {kind}, known and new; figures in the table below"
            )
            charts.append((kind, tag("figure", image(images[name], alt))))
    # One chart is open; that of val is there for who looks for it.
    open_chart = charts[0][1] if charts else Html("")
    folded = (tag("details", tag("summary", f"The same chart on {kind}"), chart) for kind, chart in charts[1:])
    return join(_remarks(metrics), open_chart, *folded, _region_table(metrics))


def examples(region_names: Sequence[str], shown: Sequence[Example]) -> Html | None:
    """Frames with skeleton, and the model's probabilities beside the truth; None without examples."""
    if not shown:
        return None
    note = (
        "Bars are the model's probabilities, highest first; the thin line is 50 %. Bold with a mark ●: true "
        "for the clip; a perfect answer has them all on top. Skeletons: left limbs light blue, right limbs orange."
    )
    return join(tag("p", note, class_="soft"), *(_example(region_names, example) for example in shown))


def training(images: Mapping[str, bytes]) -> Html | None:
    """The curves; None where there are none."""
    if "training_curves" not in images:
        return None
    curves = image(
        images["training_curves"], "Curves over the training steps: losses, mAP and other scalars of the run"
    )
    caption = tag("figcaption", "Pale lines are the recorded values, strong lines their moving average.")
    return tag("figure", curves, caption)


def data(statistics: DataStatistics | None, images: Mapping[str, bytes]) -> Html | None:
    """Counts of clips and activities; None where they are not known."""
    if statistics is None:
        return None
    rows = [
        row([split, str(of.num_clips), str(of.num_activities), f"{of.mean_regions:.1f}"])
        for split, of in statistics.splits.items()
    ]
    known, new = statistics.num_activities[KNOWN], statistics.num_activities[NEW]
    text = f"{known} known activities and {new} new ones; a clip can show several regions."
    chart = image(images["data_statistics"], "Clips and activities per muscle region")
    counts = table(["split", "clips", "activities", "regions a clip"], rows)
    return join(tag("p", text), counts, tag("figure", chart))


def run(info: RunInfo) -> Html:
    """How the run was made: command, sizes, times, versions and the config."""
    parts = []
    if info.parameters:
        total = {"total": sum(info.parameters.values())}
        counts = {name: f"{count:,}" for name, count in {**info.parameters, **total}.items()}
        parts.append(pairs_table("Parameters", counts))
    if info.times_s:
        parts.append(pairs_table("Times", {name: duration(seconds) for name, seconds in info.times_s.items()}))
    if info.facts:
        parts.append(pairs_table("Facts", info.facts))
    if info.versions:
        parts.append(pairs_table("Versions", info.versions))
    command = join(tag("h3", "Command"), tag("pre", info.command)) if info.command else Html("")
    config = tag("details", tag("summary", "Config"), tag("pre", info.config)) if info.config else Html("")
    return join(tag("div", *parts, class_="columns"), command, config)


def duration(seconds: float) -> str:
    """Seconds in the units that a person would say: "850 ms", "12.3 s", "4 min 05 s", "2 h 07 min"."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def _card(name: str, headline: Headline, metrics: Metrics) -> Html:
    kind = name.rsplit("_", 1)[-1]
    tone = kind if kind in ("known", "new") else "mean"
    split = metrics.splits.get(name)
    about = f"{split.num_clips} clips" if split else "mean of known and new"
    floors = [("all ones", headline.all_ones_floor), ("random order", headline.random_floor)]
    marks = [
        tag("span", class_="floor", style=f"left:{100 * floor:.2f}%", title=f"{floor_name} {percent(floor)} %")
        for floor_name, floor in floors
        if not math.isnan(floor)
    ]
    fill = 0.0 if math.isnan(headline.mean_ap) else headline.mean_ap
    meter = tag("div", tag("span", class_="fill", style=f"width:{100 * fill:.2f}%"), *marks, class_="meter")
    words = "; ".join(f"{floor_name} {percent(floor)}" for floor_name, floor in floors)
    return tag(
        "div",
        tag("div", tag("span", name, class_="name"), " ", tag("span", about, class_="soft")),
        tag("div", percent(headline.mean_ap), tag("small", " % mAP"), class_="figure"),
        meter,
        tag("div", tag("strong", f"{_above(headline)} above all ones"), f" (marks: {words})"),
        class_=f"card tone-{tone}",
    )


def _above(headline: Headline) -> str:
    above = headline.mean_ap - headline.all_ones_floor
    return percent(above) if math.isnan(above) else f"{100 * above:+.1f}"


def _remarks(metrics: Metrics) -> Html:
    """Sentences on the largest gap between known and new, and on regions that cannot be judged."""
    lines = []
    known, new = (metrics.splits.get(split) for split in ("test_known", "test_new"))
    if known and new:
        gap = np.array(known.average_precision) - np.array(new.average_precision)
        if not np.isnan(gap).all():
            widest = int(np.nanargmax(gap))
            before, after = known.average_precision[widest], new.average_precision[widest]
            if gap[widest] > 0:
                lines.append(
                    f"Largest loss from known to new activities: {metrics.regions[widest]}, {percent(before)} to "
                    f"{percent(after)}."
                )
    for split, figures in metrics.splits.items():
        empty = [region for region, count in zip(metrics.regions, figures.support, strict=True) if count == 0]
        if empty:
            lines.append(f"No clip of {split} shows {', '.join(empty)}: left out of its mean.")
    return tag("p", " ".join(lines)) if lines else Html("")


def _region_table(metrics: Metrics) -> Html:
    rows = []
    for k, region in enumerate(metrics.regions):
        cells = [
            _region_cell(f.average_precision[k], f.all_ones_floor[k], f.support[k]) for f in metrics.splits.values()
        ]
        rows.append(row([region, *cells]))
    means = [_region_cell(f.headline.mean_ap, f.headline.all_ones_floor, f.num_clips) for f in metrics.splits.values()]
    rows.append(row([MACRO_ROW, *means], "mean"))
    caption = (
        "Average precision in per cent; in brackets the all-ones floor and the number of clips that show the region. "
        "Shaded, with a mark ▼: not above the floor."
    )
    return table(["region", *metrics.splits], rows, caption)


def _region_cell(value: float, floor: float, count: int) -> Html:
    if math.isnan(value):
        return tag("td", "–", " ", tag("span", f"(n {count})", class_="soft"))  # noqa: RUF001 - a dash is meant
    weak = value <= floor
    mark = "▼ " if weak else ""
    details = tag("span", f"({percent(floor)}, n {count})", class_="soft")
    return tag("td", tag("strong", f"{mark}{percent(value)}"), " ", details, **({"class_": "weak"} if weak else {}))


def _example(region_names: Sequence[str], example: Example) -> Html:
    labels, probabilities = np.asarray(example.labels), np.asarray(example.probabilities, np.float64)
    strip = plots.figure_bytes(example_figure(example), "jpg")
    items = []
    for k in np.argsort(-probabilities, kind="stable"):
        truth = bool(labels[k])
        share = float(np.clip(probabilities[k], 0, 1))
        track = tag("span", tag("i", style=f"width:{100 * share:.1f}%"), tag("b"), class_="track")
        name = tag("span", f"● {region_names[k]}" if truth else region_names[k])
        items.append(
            tag("li", name, track, tag("output", f"{100 * share:.0f} %"), **({"class_": "true"} if truth else {}))
        )
    true_names = ", ".join(region_names[k] for k in np.flatnonzero(labels))
    about = f"{example.split}, clip {example.clip_id}" + (f"; {example.note}" if example.note else "")
    return tag(
        "div",
        tag("h3", example.activity or example.clip_id),
        tag("div", about, class_="soft"),
        image(strip, f"Frames of a clip of {example.activity} with the skeleton drawn on top", "jpeg"),
        tag("div", "Truth: ", tag("strong", true_names or "none")),
        tag("ul", *items, class_="bars"),
        class_="example",
    )
