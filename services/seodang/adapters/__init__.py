"""The doors of the mesh for people: each adapter turns one channel into requests of a student."""
