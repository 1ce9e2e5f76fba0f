"""`./skerry <command>`: works on plans and state, never on private parts of components."""
