"""Removes each order that a component asks for, and reports those that no test notices."""
