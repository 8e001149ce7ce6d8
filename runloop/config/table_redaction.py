"""The settings of masks: what is masked where text leaves (docs/privacy.md). What agents get is masked whatever these say."""

from __future__ import annotations

from runloop.config.kinds import Boolean, ListOf, Switch, Text
from runloop.config.registry import Key

MASKS = "masks in everything that `rlp` and the daemon's log show"

REDACTION: tuple[Key, ...] = (
    Key(
        "security.redaction.enabled",
        Switch(),
        "true",
        "Mask what is shown to people; false shows everything as it is stored.",
        effect=MASKS,
        deprecated=("kb.redaction.level",),
    ),
    Key(
        "security.redaction.email",
        Boolean(),
        "true",
        "Mask e-mail addresses, up to their domain.",
        effect=MASKS,
        deprecated=("kb.redaction.mask_email",),
    ),
    Key("security.redaction.phone", Boolean(), "true", "Mask telephone numbers, up to their last two digits.", effect=MASKS),
    Key("security.redaction.card", Boolean(), "true", "Mask card numbers, up to their last four digits.", effect=MASKS),
    Key("security.redaction.iban", Boolean(), "true", "Mask IBANs, up to their last four digits.", effect=MASKS),
    Key("security.redaction.keys", Boolean(), "true", "Mask keys, tokens and passwords.", effect=MASKS),
    Key(
        "security.redaction.url_params", Boolean(), "true", "Mask secrets in URLs: the parameters listed, and the user part.", effect=MASKS
    ),
    Key(
        "security.redaction.url_param_denylist",
        ListOf(Text()),
        ["token", "key", "password", "signature", "auth"],
        "URL parameters whose values are masked, by name or by the last word of it.",
        effect=MASKS,
        deprecated=("kb.redaction.url_param_denylist",),
    ),
    Key(
        "security.redaction.salt",
        Text(blank=True),
        None,
        "Salt of the masks; not set is one of the ledger's own.",
        effect=MASKS,
        deprecated=("kb.redaction.salt",),
        nullable=True,
        secret=True,
    ),
    Key(
        "security.redaction.drop_masked_rows",
        Boolean(),
        "false",
        "Leave out the rows and hits in which something would be masked.",
        effect="rlp kb query and rlp search",
        deprecated=("kb.redaction.drop_masked_rows",),
    ),
    Key(
        "security.redaction.allow_unredacted_admin",
        Boolean(),
        "false",
        "Allow `--unmasked REASON`, which shows what is stored and is recorded.",
        effect="--unmasked",
        deprecated=("kb.redaction.allow_unredacted_admin",),
        limit="policy.allow_unredacted_admin",
    ),
)
