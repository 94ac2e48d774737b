"""The check of textssl on one GPU, scripts/gpu_check.sh: a file for each kind of part, and what starts them."""
