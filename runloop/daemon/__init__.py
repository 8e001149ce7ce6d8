"""runloopd: the composition root of the process that hosts runs behind the bus."""
