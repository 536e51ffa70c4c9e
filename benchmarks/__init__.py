"""How fast and how heavy the server is, measured from outside beside the thinnest relay, in one run on one machine."""
