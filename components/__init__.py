"""What a stack is made of: settings, the contract between layers, and the targets behind it."""
