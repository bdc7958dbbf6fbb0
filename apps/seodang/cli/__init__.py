"""The `seodang` command: run the mesh, distil, ask, report."""
