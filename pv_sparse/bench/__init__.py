"""How fast this machine is: `pv-sparse bench`."""
