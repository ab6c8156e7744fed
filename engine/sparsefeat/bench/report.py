"""Writes a comparison as one page: sentences, plots, tables, environment."""

import datetime
from typing import TYPE_CHECKING, Any

from sparsefeat.bench.engines import ENGINES
from sparsefeat.bench.result import Result, Speed
from sparsefeat.bench.text import COLUMNS, cautions, digits, findings, heading, method, table
from sparsefeat.viz.pages import Figure, Part, Section, Table, check_installed, render_page

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Colour-blind readers can tell these apart; each engine's name also stands beside its bar.
COLOURS = {
    "tensorflow": "#d9822b",
    "pytorch": "#8a5a9e",
    "sparsefeat": "#12876a",
    "onnxruntime": "#2f6fb7",
}
TITLES = {
    "tensorflow": "TensorFlow",
    "pytorch": "PyTorch",
    "sparsefeat": "sparsefeat",
    "onnxruntime": "ONNX Runtime",
}


def render_report(result: Result) -> str:
    """Return the page as HTML that needs no other file and no network.

    Raises
    ------
    DependencyError
        plotly or Jinja2 isn't installed, or doesn't load.
    """
    check_installed()
    said = cautions(result)
    started = datetime.datetime.fromisoformat(result.started)
    whole = Table(
        caption="Ratio: images/s divided by the baseline's; median over rounds with its 95 % "
        "confidence interval",
        columns=COLUMNS,
        rows=table(result.rows()),
    )
    first: list[Part] = [
        findings(result) or "One engine was measured, so there is nothing to compare."
    ]
    if said:
        first += ["Keep in mind:", said]
    sections = [
        Section(title="Results", parts=first),
        Section(title="Images per second", parts=[_rates(result, n) for n in result.batch_sizes]),
        Section(title="Time per batch", parts=[_latency(result, n) for n in result.batch_sizes]),
        Section(title="All numbers", parts=[whole, _turns(result)]),
        Section(title="How it was measured", parts=[method(result)]),
        Section(title="Engines and machine", parts=[_engines(result), _machine(result)]),
    ]
    return render_page(
        "Comparison of VGG16 engines",
        sections,
        lead=f"{heading(result)}; {started:%Y-%m-%d %H:%M UTC}",
    )


def _rates(result: Result, batch_size: int) -> Figure:
    import plotly.graph_objects as go

    rows = [row for row in result.rows() if row.batch_size == batch_size]
    figure = go.Figure()
    for framework, colour in COLOURS.items():
        own = [row for row in rows if ENGINES[row.engine].framework == framework]
        if own:
            figure.add_bar(
                orientation="h",
                name=TITLES[framework],
                marker_color=colour,
                y=[row.engine for row in own],
                x=[row.images_per_second.median for row in own],
                text=[digits(row.images_per_second.median) for row in own],
                textposition="auto",
                insidetextanchor="start",
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [
                        row.images_per_second.high - row.images_per_second.median for row in own
                    ],
                    "arrayminus": [
                        row.images_per_second.median - row.images_per_second.low for row in own
                    ],
                    "color": "#1c2530",
                    "thickness": 1.5,
                },
                hovertemplate="%{y}: %{x:.3g} images/s<extra></extra>",
            )
    _lay_out(figure, rows, "images/s")
    spoken = ", ".join(f"{row.engine} {row.images_per_second.median:.3g}" for row in rows)
    return Figure(
        caption=f"Batches of {batch_size}. A bar is the median over rounds, its line the 95 % "
        "confidence interval. Longer is faster.",
        description=f"Bars of images per second in batches of {batch_size}: {spoken}",
        plot=figure,
    )


def _latency(result: Result, batch_size: int) -> Figure:
    import plotly.graph_objects as go

    rows = [row for row in result.rows() if row.batch_size == batch_size]
    raw = {one.engine: one for one in result.measurements if one.batch_size == batch_size}
    figure = go.Figure()
    for row in rows:
        framework = ENGINES[row.engine].framework
        milliseconds = 1000 * raw[row.engine].seconds
        figure.add_box(
            x=milliseconds.round(3).tolist(),
            y=[row.engine] * len(milliseconds),
            orientation="h",
            name=row.engine,
            showlegend=False,
            marker={"color": COLOURS[framework], "size": 4, "opacity": 0.5},
            line_width=1.5,
            boxpoints="all",
            jitter=0.6,
            pointpos=0,
            hovertemplate="%{y}: %{x:.4g} ms<extra></extra>",
        )
    logarithmic = _spread(rows) > 20
    _lay_out(figure, rows, "ms per batch (logarithmic)" if logarithmic else "ms per batch")
    figure.update_xaxes(**({"type": "log", "dtick": 1} if logarithmic else {"rangemode": "tozero"}))
    spoken = ", ".join(f"{row.engine} {1000 * row.seconds[0]:.3g}" for row in rows)
    files = result.settings["from_files"]
    dot = "the mean batch of one pass through the files" if files else "one timed batch"
    return Figure(
        caption=f"Batches of {batch_size}. A dot is {dot}; a box contains the middle half of the "
        "dots, and its line is the median. Further left is faster.",
        description=f"Dots and boxes of the milliseconds of every batch of {batch_size}; medians: "
        f"{spoken}",
        plot=figure,
    )


def _spread(rows: list[Speed]) -> float:
    """Return the ratio of the slowest engine's time to the fastest's."""
    return max(row.seconds[2] for row in rows) / min(row.seconds[0] for row in rows)


def _lay_out(figure: "go.Figure", rows: list[Speed], title: str) -> None:
    figure.update_layout(
        template="plotly_white",
        height=90 + 40 * len(rows),
        margin={"l": 10, "r": 20, "t": 30, "b": 45},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        font={"size": 13, "color": "#1c2530"},
        bargap=0.35,
        dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_xaxes(title=title, automargin=True, fixedrange=True)
    figure.update_yaxes(
        automargin=True,
        fixedrange=True,
        ticksuffix="  ",
        categoryorder="array",
        categoryarray=[row.engine for row in reversed(rows)],
    )


def _turns(result: Result) -> Table:
    return Table(
        caption="threads, waiting: processor time divided by elapsed time, in the engine's turns "
        "and between them; delayed: share of the time in which its threads were ready but had no "
        "processor; others: processors that other programs used in its turns",
        columns=(
            "engine",
            "batch",
            "rounds",
            "runs",
            "warm-up",
            "threads",
            "waiting",
            "delayed",
            "others",
            "memory",
        ),
        rows=[
            (
                one.engine,
                str(one.batch_size),
                str(len(one.rounds)),
                str(len(one.seconds)),
                str(len(one.warm_up_seconds)),
                f"{one.threads_used:.2f}",
                f"{one.idle_threads:.3f}",
                f"{100 * one.delayed:.0f} %",
                "unknown" if one.others is None else f"{one.others:.2f}",
                "" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:,.0f} MB",
            )
            for one in result.measurements
        ],
    )


def _engines(result: Result) -> Table:
    return Table(
        caption="Engines, as their processes report them",
        columns=("engine", "description", "runs on", "device", "precision", "probe error"),
        rows=[
            (
                name,
                facts["label"],
                facts["runs_on"],
                facts["device"],
                facts["precision"],
                f"{facts['probe_error']:.1e}" if "probe_error" in facts else "",
            )
            for name, facts in result.engines.items()
        ],
        left=5,
    )


def _machine(result: Result) -> Table:
    machine, settings = result.environment, result.settings
    processor, limits, memory = machine["processor"], machine["limits"], machine["memory"]
    rows: list[tuple[str, Any]] = [
        ("processor", processor["model"]),
        ("logical processors", processor["logical_count"]),
        ("instructions", " ".join(processor["flags"])),
        ("frequency governor", processor["governor"]),
        ("frequency boost", processor["boost"]),
        ("allowed processors", _joined(limits["affinity"])),
        ("processor quota", limits["cpu_quota"] or "none"),
        ("threads", settings["threads"]),
        ("memory", memory["total_bytes"] and f"{memory['total_bytes'] / 1e9:.1f} GB"),
        ("load average before the run", _joined(machine["load_average"])),
        ("system", machine["system"]["platform"]),
        ("Python", machine["python"]),
        ("packages", ", ".join(f"{name} {one}" for name, one in machine["packages"].items())),
        *machine["variables"].items(),
        ("model", f"{settings['model']}, {settings['weights']}"),
        ("layers", ", ".join(settings["layers"])),
        ("images", ", ".join(settings["image_paths"])),
        ("preprocessing", settings["preprocess"]),
        ("seed", settings["seed"]),
    ]
    return Table(
        caption="Machine and settings",
        columns=(),
        rows=[(name, "unknown" if value is None else str(value)) for name, value in rows],
        left=2,
    )


def _joined(values: list[Any] | None) -> str | None:
    return None if values is None else ", ".join(map(str, values))
