"""Where measurements are kept: SQLite by default, PostgreSQL by URL."""
