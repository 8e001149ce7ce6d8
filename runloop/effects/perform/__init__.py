"""The performers: for each hostcall, what it would do (`prepare`) and the doing (`perform`). One module a subject."""
