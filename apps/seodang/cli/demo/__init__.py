"""`seodang demo`: the whole way once, from a teacher to a robot that obeys its student."""
