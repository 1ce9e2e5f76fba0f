"""The programs Skerry runs: each reads its own flags and environment, and knows nothing of the components."""
