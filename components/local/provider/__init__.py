"""`skerry-local`, the Pulumi provider of target `local`: processes, tasks and files on this machine."""
