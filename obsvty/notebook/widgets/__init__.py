"""What is drawn in a notebook: the chat about an incident, and figures that need no script."""

from obsvty.notebook.figures import Figure, edges_figure, latency_figure
from obsvty.notebook.widgets.chat import InsightChat

__all__ = ["Figure", "InsightChat", "edges_figure", "latency_figure"]
