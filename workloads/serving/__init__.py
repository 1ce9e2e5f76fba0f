"""Serving a small language model: `publish` makes a verified artifact of it, `server` answers from that."""
