"""A stream watched while it comes: read, looked at by an online recogniser, and told to whoever observes."""
