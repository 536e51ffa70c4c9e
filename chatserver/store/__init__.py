"""The only SQL of the core, one function per question, in the subset SQLite and PostgreSQL share."""
