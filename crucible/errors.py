"""Every failure that Crucible reports, in one tree.

    CrucibleError                 one sentence: what is wrong, where, what to do
    ├── RecipeError               a recipe that cannot be read, or says something impossible
    ├── SettingsError             an environment variable or endpoint that makes no sense
    ├── DataError                 bars, features or predictions that cannot be used
    │   ├── SchemaError           wrong columns or types, empty, unsorted, duplicated
    │   ├── GapError              bars are missing where they are needed
    │   ├── StaleError            the newest bar is older than allowed
    │   └── StoreError            the disk refused, or a stored file is damaged
    ├── SourceError               an exchange refused, or answered nonsense
    ├── EvaluationError           too little data, or a model that cannot be fitted
    ├── GateError                 a promotion that the verdict does not allow
    ├── BundleError               a model bundle that is incomplete, altered or of another schema
    ├── RegistryError             the MLflow store refused, or has no such version
    ├── MechanismError            numbers from which the topic mechanism cannot compute an epoch
    ├── WalletError               a key that is missing, locked or of another address
    ├── Withheld              nothing may be submitted so far; carries the reason's code
    ├── ChainError                the node
    │   ├── NoAccount             the wallet's address was never funded
    │   ├── FaucetBusy            asked too often; carries how long to wait
    │   ├── FeeAboveCap           the chain asks for more than may be paid
    │   ├── NodeUnreachable       refused, timed out, or hung up; worth another endpoint or another try
    │   ├── TxRejected            the chain said no, with codespace, code and raw log
    │   │   └── SequenceMismatch  another transaction of this wallet came first; carries what was expected
    │   ├── TxUnconfirmed         sent, and not seen in a block so far: look up the hash before anything else
    │   └── WindowClosed          the submission window ended first
    └── ProcessError              a port in use, a child that died, a lock that is held
        └── LeaseNotHeld          another host may be submitting for this wallet and topic

Raise the most precise one. The command line prints ``str(error)`` and exits 1; tracebacks need ``--debug``.
"""

from __future__ import annotations


class CrucibleError(Exception):
    """Base of all failures that are reported to a user as one sentence."""


class RecipeError(CrucibleError):
    """A recipe cannot be read, or states something impossible."""


class SettingsError(CrucibleError):
    """An environment variable, path or endpoint makes no sense."""


class DataError(CrucibleError):
    """Bars, features or predictions cannot be used."""


class SchemaError(DataError):
    """Columns or types are wrong, or rows are missing, unsorted or duplicated."""


class GapError(DataError):
    """Bars are missing where they are needed."""


class StaleError(DataError):
    """The newest bar is older than allowed."""


class StoreError(DataError):
    """The disk refused a write, or a stored file is damaged."""


class SourceError(CrucibleError):
    """An exchange refused, or answered nonsense."""


class EvaluationError(CrucibleError):
    """Too little data for the recipe, or a model that cannot be fitted."""


class GateError(CrucibleError):
    """A promotion that the verdict does not allow."""


class BundleError(CrucibleError):
    """A model bundle is incomplete, altered, or of another schema."""


class RegistryError(CrucibleError):
    """The MLflow store refused, or has no such model version."""


class MechanismError(CrucibleError):
    """The topic mechanism cannot compute from these numbers, as the chain could not."""


class WalletError(CrucibleError):
    """A key is missing, locked, or belongs to another address."""


class Withheld(CrucibleError):
    """Nothing may be submitted for a nonce so far: there is no value, or somebody else submits.

    Parameters
    ----------
    reason : str
        The code of :mod:`crucible.worker.reasons` under which it is recorded.
    words : str
        The sentence.
    """

    def __init__(self, reason: str, words: str) -> None:
        self.reason = reason
        super().__init__(words)


class ChainError(CrucibleError):
    """The node, or what it answered."""


class NoAccount(ChainError):
    """The chain does not know the wallet's address: it was never funded."""


class FaucetBusy(ChainError):
    """The faucet was asked too often; ``wait`` is how many seconds it wants to be left alone, 0 if it does not say."""

    def __init__(self, wait: float, words: str) -> None:
        self.wait = wait
        super().__init__(words)


class FeeAboveCap(ChainError):
    """The chain asks for a higher fee than the policy allows."""


class NodeUnreachable(ChainError):
    """The node refused the connection, timed out or hung up."""


class TxRejected(ChainError):
    """The chain refused a transaction, at CheckTx or in a block.

    Parameters
    ----------
    code : int
        ABCI code; 0 never occurs here.
    codespace : str
        Module whose code it is, for example ``sdk`` or ``emissions``.
    raw_log : str
        The chain's own words.
    tx_hash : str
        Hash of the refused transaction, upper-case hex.
    """

    def __init__(self, code: int, codespace: str, raw_log: str, tx_hash: str = "") -> None:
        self.code = code
        self.codespace = codespace
        self.raw_log = raw_log
        self.tx_hash = tx_hash
        super().__init__(f"The chain refused transaction {tx_hash[:12]} ({codespace} code {code}): {raw_log}")


class SequenceMismatch(TxRejected):
    """Another transaction of this wallet came first (sdk code 32).

    ``expected`` is the sequence that the chain waits for, or ``None`` when its text does not say.
    """

    def __init__(self, expected: int | None, raw_log: str, tx_hash: str = "") -> None:
        self.expected = expected
        super().__init__(32, "sdk", raw_log, tx_hash)


class TxUnconfirmed(ChainError):
    """A transaction was sent and has not been seen in a block so far."""


class WindowClosed(ChainError):
    """The submission window ended before the submission was in a block."""


class ProcessError(CrucibleError):
    """A port is in use, a child process died, or a lock is held by another process."""


class LeaseNotHeld(ProcessError):
    """A process may not sign: another host may be submitting for the same wallet and topic."""
