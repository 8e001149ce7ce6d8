"""The part of the sandbox that runs inside the Python guest. Nothing here is a wall: the wall is WebAssembly."""
