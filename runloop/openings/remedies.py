"""What to change where the plan itself ended a node or a run: by the code of the failure."""

from __future__ import annotations

from typing import Final

HINTS: Final = {
    "timeout": "raise timeout_ms of the node, and policy.timeout_ms where that is less (30000 without either); or let the agent do less",
    "budget": "raise budget_tokens or budget_usd of the node, and of the policy where that is less; or let its agents ask for less",
    "success": "`rlp show RUN --outputs` shows what the nodes gave; correct what `success` asks for, or what leads to it",
    "gate.rejected": "run it again to be asked anew; `on_failure` of the node says what follows from a no, "
    "`timeout` of its gate how long it waits",
    "items.too_many": "raise max in the node's for_each, or give it fewer",
    "output.invalid": "correct the agent, or the contract under `output` of the node; the message names the place in the value",
    "vote.quorum": "lower the quorum of the node, or see why voters failed: `rlp show RUN`",
    "vote.undecided": "add a voter, or write on_tie: first under merge.vote; docs/openings.md has the rules",
}
"""By code, of a node's failure."""
RUN_TIMEOUT: Final = "raise policy.timeout_ms of the opening; without it only the nodes have clocks"
"""Where the time of the whole run was over."""
SAME_AGAIN: Final = "`retry` does not repeat it, for it would end the same way"
"""Where attempts were left to a node."""
