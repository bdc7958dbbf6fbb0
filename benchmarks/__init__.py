"""Measurements of the product beside its peers; ``make bench`` takes them and renders docs/performance.md."""
