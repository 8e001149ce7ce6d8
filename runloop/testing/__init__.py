"""Running an agent's own test cases in the real sandbox, with recorded answers in place of the world."""

from runloop.testing.cases import Case, Expected, ExpectedError, RecordedAt, Scripted, read_cases
from runloop.testing.runner import CaseResult, run_cases

__all__ = ["Case", "CaseResult", "Expected", "ExpectedError", "RecordedAt", "Scripted", "read_cases", "run_cases"]
