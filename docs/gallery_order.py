"""The order of the gallery: from a first model to many rows."""

from pathlib import Path

LESSONS = (
    "plot_growth",
    "plot_known_and_new",
    "plot_insteval",
    "plot_displays",
    "plot_split_plot",
    "plot_reaction_times",
    "plot_criticism",
    "plot_panel_training",
    "plot_grid_search",
    "plot_cbpp",
    "plot_readmissions",
    "plot_counts",
    "plot_price_elasticities",
    "plot_ordinal_insteval",
    "plot_encoder",
    "plot_workers_and_firms",
    "plot_dask",
    "plot_ten_million_rows",
)


def by_lesson(filename):
    """Sort examples by their place in `LESSONS`; others come last, by name."""
    name = Path(filename).stem
    return (LESSONS.index(name) if name in LESSONS else len(LESSONS), name)
