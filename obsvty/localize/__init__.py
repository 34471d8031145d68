"""Incidents to where: what a request does differently, and which kind of cause that is."""

from obsvty.localize.classify import Classification, classify_verdict, ruled_out
from obsvty.localize.compare import compare
from obsvty.localize.impact import measure_impact, traffic_per_minute, traffic_ratio
from obsvty.localize.locate import edge_failures, edge_services, locate, locate_across, origin_of
from obsvty.localize.operation_diff import operation_diff
from obsvty.localize.service_map import service_map

__all__ = [
    "Classification",
    "classify_verdict",
    "compare",
    "edge_failures",
    "edge_services",
    "locate",
    "locate_across",
    "measure_impact",
    "operation_diff",
    "origin_of",
    "ruled_out",
    "service_map",
    "traffic_per_minute",
    "traffic_ratio",
]
