"""An offline demo model in a process of its own, offered when nothing else is configured."""
