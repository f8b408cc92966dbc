"""`python -m pv_sparse` is `pv-sparse`."""

from pv_sparse.cli import main

main(prog_name="pv-sparse")
