"""Providers that only answer: they stand in for a cloud's in a rehearsal, and compare nothing with its API."""
