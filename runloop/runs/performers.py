"""What carries out the calls of guests, made of the settings."""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING

from runloop.kb.search import DOMAINS
from runloop.runs.obeying import protected_paths
from runloop.runs.places import kept_files
from runloop.runs.ports import KnowledgeForAgents, LedgerSentLog
from runloop.runs.reports import Reports
from runloop.runs.spawns import Spawn

if TYPE_CHECKING:
    from runloop.config import Settings
    from runloop.effects.perform.mail import MailSettings
    from runloop.effects.perform.secrets import SecretHandles, SecretStore
    from runloop.effects.types import Performer
    from runloop.kb import AsyncLedger, KnowledgeBase
    from runloop.models.broker import Broker
    from runloop.runs.manager import RunManager
    from runloop.runs.operator import Operator


def make_performers(
    settings: Settings,
    manager: RunManager,
    operator: Operator,
    kb: KnowledgeBase,
    ledger: AsyncLedger,
    broker: Broker,
    handles: SecretHandles,
    store: SecretStore,
) -> dict[str, Performer]:
    """What carries out each host call, by its name."""
    from runloop.effects.perform.artifact import EmitArtifact
    from runloop.effects.perform.ask import AskPerson
    from runloop.effects.perform.emit import CheckpointMark, EmitLog, EmitProgress
    from runloop.effects.perform.exec import ExecRun
    from runloop.effects.perform.files import FilesList, FilesRead
    from runloop.effects.perform.files_write import FilesWrite
    from runloop.effects.perform.http import HttpFetch
    from runloop.effects.perform.kb import KbGet, KbPropose, KbQuery, KbSearch
    from runloop.effects.perform.mail import MailSend
    from runloop.effects.perform.model import ModelComplete, ModelEmbed
    from runloop.effects.perform.paths import PathRules
    from runloop.effects.perform.secrets import SecretsHandle
    from runloop.effects.perform.timer import TimerSleep

    directories = settings.directories
    knowledge = KnowledgeForAgents(kb)
    rules = PathRules(home=settings.base.home, protected=protected_paths(settings))
    blobs = kept_files(settings)
    reports = Reports(manager)
    return {
        "model.complete": ModelComplete(broker, reports.budget_of, reports),
        "model.embed": ModelEmbed(broker, reports.budget_of),
        "kb.search": KbSearch(knowledge, DOMAINS),
        "kb.get": KbGet(knowledge, DOMAINS),
        "kb.query": KbQuery(knowledge),
        "kb.propose": KbPropose(knowledge),
        "http.fetch": HttpFetch(handles),
        "files.read": FilesRead(rules),
        "files.list": FilesList(rules),
        "files.write": FilesWrite(rules, blobs),
        "exec.run": ExecRun(rules),
        "mail.send": MailSend(_mail(settings), LedgerSentLog(ledger, manager), store),
        "ask.person": AskPerson(operator),
        "secrets.handle": SecretsHandle(handles),
        "spawn.agent": Spawn(manager, "agent"),
        "spawn.opening": Spawn(manager, "opening"),
        "timer.sleep": TimerSleep(),
        "emit.progress": EmitProgress(reports),
        "emit.log": EmitLog(reports),
        "emit.artifact": EmitArtifact(directories.artifacts, reports),
        "checkpoint.mark": CheckpointMark(reports),
    }


def _mail(settings: Settings) -> MailSettings:
    from runloop.effects.perform.mail import MailSettings
    from runloop.effects.perform.mail_message import local_identity
    from runloop.effects.perform.mail_smtp import SmtpSettings

    host = settings.get("mail.smtp.host")
    smtp = None
    if host is not None:
        keys = ("port", "tls", "user", "secret_id", "timeout_ms")
        smtp = SmtpSettings(host, *(settings.get(f"mail.smtp.{key}") for key in keys))
    local = local_identity(_user_name(), socket.gethostname())
    return MailSettings(settings.directories.outbox, local, settings.get("mail.from"), smtp)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a passwd entry
        return f"uid{os.getuid()}"
