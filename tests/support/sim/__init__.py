"""A whole Runloop process with everything around it simulated: time, disk, models, mail, people, workers. A seed decides all of it."""
