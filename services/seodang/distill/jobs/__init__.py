"""Distillation jobs: what they may be asked, where they stand, and who watches them."""
