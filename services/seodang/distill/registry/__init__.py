"""The registry: immutable versions of students, the aliases that point at them, and what made them."""
