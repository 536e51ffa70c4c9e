"""What must not be trusted is opened here: in a process of its own, with little memory, time, disk and no network."""

from chatserver.confined.runner import Bounds, Broke, run_confined

__all__ = ["Bounds", "Broke", "run_confined"]
