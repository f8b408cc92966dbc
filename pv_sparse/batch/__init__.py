"""Many videos at once: decoding processes and the model work together, into Parquet files that a kill does not harm."""
