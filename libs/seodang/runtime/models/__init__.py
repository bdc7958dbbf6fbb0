"""Model families, each as one file: its weights, how they are shared out, and its forward pass."""
