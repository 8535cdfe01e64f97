"""What may help a graph that the bound refuses."""

from __future__ import annotations

from bas_edge.quantization.report import PrecisionReport

__all__ = ["advice", "advice_again"]


def advice(report: PrecisionReport, search_budget_s: float) -> str:
    """What may help a graph that the bound refuses."""
    if report.plan_checks and all(check.held for check in report.checks):
        return "The graph keeps the bound; another version of TensorRT, or more bits, may help."
    if report.precision == "fp16":
        return "Other images to measure on, or --precision fp32, may help."
    most = max((step.nodes_in_float for step in report.search), default=0)
    layers = len(report.layers)
    if most >= layers - 1:
        begin = f"The search tried up to {most} of {layers} layers in float: more time is no help. "
        others = "More"
    elif search_budget_s > 0:
        begin = f"The search ended with its time, after {most} of {layers} layers in float. "
        others = "A longer --search-budget, more"
    else:
        begin = "No layer was tried in float. "
        others = "A --search-budget above 0, more"
    if report.task == "segmentation":
        return f"{begin}{others} or other calibration images, or --precision fp16 may help."
    return (
        f"{begin}{others} or other calibration images, --precision fp16, or a finetune with "
        "`bas-edge train --qat` may help."
    )


def advice_again(report: PrecisionReport) -> str:
    """The advice that the build gave, from its report alone.

    "" where nothing was refused.
    """
    if report.verdict != "refused":
        return ""
    return advice(report, 1.0 if report.search else 0.0)
