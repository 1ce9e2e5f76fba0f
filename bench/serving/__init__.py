"""How fast, how well and how calmly a model is served: `make bench-serving`."""
