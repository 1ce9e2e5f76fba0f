"""Set-up, checks and chores: everything a clone needs before and around the toolkit itself."""
