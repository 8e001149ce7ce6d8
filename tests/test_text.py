"""What a person is asked, in a few words; how texts and times are shown is tested where they are."""

import pytest

from runloop.text import asked, awaited, sort_of


@pytest.mark.parametrize(
    ("approval_id", "action", "sort", "waits_for", "question"),
    [
        ("run/send/1/1", "mail.smtp", "approval", "approval of mail.smtp", "approve mail.smtp"),
        ("run/send/1/1/1795249952553", "mail.smtp", "approval", "approval of mail.smtp", "approve mail.smtp"),
        ("run/send/1/1", None, "approval", "an answer", "approve an action"),
        ("run/outcome/1/1", "mail.smtp", "approval", "approval of mail.smtp", "approve mail.smtp"),
        ("run/send/1/1/outcome/1", "mail.smtp", "outcome", "an answer whether mail.smtp happened", "mail.smtp happened"),
        ("run/send[3]/1/1/outcome-2/1", "mail.smtp", "outcome", "an answer whether mail.smtp happened", "mail.smtp happened"),
        ("run/draft/gate/1/1", "gate", "gate", "an answer at a gate", "gate"),
    ],
)
def test_the_id_says_whether_something_may_be_done_did_happen_or_how_it_goes_on(approval_id, action, sort, waits_for, question):
    assert (sort_of(approval_id), awaited(approval_id, action), asked(approval_id, action)) == (sort, waits_for, question)
