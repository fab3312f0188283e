"""``bench gpu-check``: whether what this program says of an accelerator is true, on your own."""
