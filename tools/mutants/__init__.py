"""Mutation testing: small faults drawn from the source, each of which some test must notice.

`make mutants` draws mutants, traces which test runs which line, and runs for each mutant the tests of its line.
docs/decisions/0023-drawn-mutants.md says why this is own code.
"""
