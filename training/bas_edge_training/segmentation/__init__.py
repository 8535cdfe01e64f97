"""Segmentation from image labels: multi-label BAS, seeds, pseudo masks, and a segmenter of them."""
