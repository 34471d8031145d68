"""Tables to findings to incidents: what changed, when, and with which deployment."""

from obsvty.detect.deployments import deployment_table, find_deployments
from obsvty.detect.errors import find_error_steps, find_exceptions
from obsvty.detect.incidents import detect_incidents
from obsvty.detect.latency import find_latency_steps
from obsvty.detect.log_templates import TemplateMiner, find_log_changes
from obsvty.detect.throughput import find_throughput_steps
from obsvty.detect.windows import incident_of_window

__all__ = [
    "TemplateMiner",
    "deployment_table",
    "detect_incidents",
    "find_deployments",
    "find_error_steps",
    "find_exceptions",
    "find_latency_steps",
    "find_log_changes",
    "find_throughput_steps",
    "incident_of_window",
]
