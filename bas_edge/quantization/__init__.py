"""Int8 and fp16 engines whose loss is measured: calibration, Q/DQ graphs, the bound, the report."""
