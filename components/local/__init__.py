"""Target `local`: regions made of processes and folders of this machine."""
