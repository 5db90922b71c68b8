"""Architectures of others that ours is compared with: one file each, as their sources describe them."""
