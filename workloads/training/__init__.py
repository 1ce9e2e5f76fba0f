"""A small language model trained on real text: see train.py for how to launch it."""
