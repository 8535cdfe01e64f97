"""Steady boxes: maps, boxes and classes of one stream, smoothed over time."""
