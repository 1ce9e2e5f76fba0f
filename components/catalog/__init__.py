"""Facts as tables: what exists on which target. Every row says where it is from and when that was read."""
