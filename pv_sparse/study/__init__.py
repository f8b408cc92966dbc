"""The study: which tasks need time, and what TSN, TRN and ECO make of it (extra `study`)."""
