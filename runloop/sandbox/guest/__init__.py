"""What is frozen into the Python guest (``runloop_guest``), and how it is built. Not part of an installed Runloop."""
