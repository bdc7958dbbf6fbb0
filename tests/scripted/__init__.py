"""Servicers that say what a test tells them to, behind the real servers and the real wire."""
