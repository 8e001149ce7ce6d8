"""Runs: drive an opening's plan, answer its guests through the journal, and record every crossing before it is seen."""
