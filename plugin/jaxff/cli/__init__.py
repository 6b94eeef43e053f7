"""The `jaxff` command: one file a subcommand, registered in `app`."""
