"""Typed settings of a stack: plain values, validated as a whole before the first resource.

`items` and `model` are the settings, `rules` what holds between them, `load` and `read` the ways in.
"""
