"""Where jobs, curves, versions and aliases are kept: tables, engine, migrations and the unit of work."""
