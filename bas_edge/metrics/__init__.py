"""Localization metrics: what a box is worth, and where to cut a map."""

from __future__ import annotations

from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.iou import box_iou
from bas_edge.metrics.label_free import network_cut
from bas_edge.metrics.localization import (
    BoxAccuracy,
    ClassAccuracy,
    LocalizationAccuracy,
    box_accuracy,
    class_accuracy,
    label_rank,
    localization_accuracy,
)
from bas_edge.metrics.max_box_acc import MaxBoxAcc, MaxBoxAccV2, max_box_acc, max_box_acc_v2
from bas_edge.metrics.min_score import MinScore, choose_min_score
from bas_edge.metrics.pixels import PixelAccuracy, PixelCurve
from bas_edge.metrics.protocols import IOU_LEVELS, THRESHOLDS, BoxIous, BoxProtocol, open_protocol
from bas_edge.metrics.segmentation import ConfusionMatrix, SeedSweep, SegmentationAccuracy
from bas_edge.metrics.threshold import lambda_criterion, split_halves

__all__ = [
    "IOU_LEVELS",
    "THRESHOLDS",
    "BoxAccuracy",
    "BoxIous",
    "BoxProtocol",
    "ClassAccuracy",
    "ConfusionMatrix",
    "GroundTruth",
    "LocalizationAccuracy",
    "MaxBoxAcc",
    "MaxBoxAccV2",
    "MinScore",
    "PixelAccuracy",
    "PixelCurve",
    "SeedSweep",
    "SegmentationAccuracy",
    "box_accuracy",
    "box_iou",
    "choose_min_score",
    "class_accuracy",
    "label_rank",
    "lambda_criterion",
    "localization_accuracy",
    "max_box_acc",
    "max_box_acc_v2",
    "network_cut",
    "open_protocol",
    "split_halves",
]
