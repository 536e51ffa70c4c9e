"""The only Litestar, Jinja and HTML."""
