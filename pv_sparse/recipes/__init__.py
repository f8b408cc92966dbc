"""Training and evaluation with Lightning (extra `train`): parts to use in code of one's own, and `pv-sparse train`."""
