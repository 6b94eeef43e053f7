"""`jaxff active`: explore, label what the potential does not know, train again, until its errors are as asked for."""
