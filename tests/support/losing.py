"""A run that lost texts, as `rlp forget` leaves it."""

from runloop.kb.erasing import Left, erase, without_texts


def lose(ledger, run_id, text):
    """Take a text out of the records of a run; the records as they were that lost it."""
    lost = []
    for event in [*ledger.read_run(run_id)]:
        full = ledger.full(event).payload
        if (left := without_texts(full, lambda each: each.replace(text, "[erased]"))) != full:
            lost.append(event)
            erase(ledger, [Left(event.id, left)])
    return lost
