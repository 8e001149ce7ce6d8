"""The router: whether a line typed at the prompt is for the shell or for agents. A pure core that imports only the standard library.

``classify`` decides, ``route_reply`` gives the JSON of `rlp route`; ``machine`` finds out what a process can see of the shell.
"""
