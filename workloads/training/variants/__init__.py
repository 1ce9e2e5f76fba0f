"""The same training under launchers other than torchrun: see loop.py for what is the same."""
