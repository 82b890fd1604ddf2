"""Other servers with the same model, each as its own documentation advises; `benchmarks.serving` starts them."""
