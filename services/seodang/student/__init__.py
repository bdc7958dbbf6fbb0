"""The student server: many small models in one engine, loaded, replaced and evicted while others stream."""
