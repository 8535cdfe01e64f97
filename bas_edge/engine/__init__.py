"""Engine bundles: `bundle` opens and writes them, `build` makes one from an ONNX file."""
