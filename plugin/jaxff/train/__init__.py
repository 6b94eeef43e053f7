"""What jaxff train and jaxff select-features do, from files to a file."""
