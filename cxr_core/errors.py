"""The errors this package raises on purpose.

CxrError
├── Rejected(code, message, hint)   the input cannot be assessed; a person must look
├── ModelError                      a model folder is not what its manifest says
├── PolicyError                     the clinical policy is incomplete or contradictory
├── DataError                       films or labels to learn from cannot be used as they are
├── RecipeError                     a training recipe is incomplete, contradictory or cannot be followed
├── StoreError                      what lies on disk or in the database cannot be read, written or added to
│   ├── Unknown                     what was asked for by its id is not there
│   └── Busy                        for now: queue or disk full, database locked or away
├── DecoderDied(code)               the process that decoded a film crashed, stalled or ran out of memory
├── Invalid                         what a person typed or chose cannot be recorded; complete it
├── Conflict                        it cannot be done to the study as it stands
│   └── Changed                     the study changed since it was shown; look again, then act
├── Forbidden                       the role does not allow it
├── SignedOut(why)                  the sign-in has ended; sign in again
└── SettingsError                   a setting is unknown or out of range

No message carries patient data: codes, sizes and names of formats only.
"""


class CxrError(Exception):
    """Base of every error raised on purpose."""


class Rejected(CxrError):
    """The input cannot be assessed: a stable code, one plain sentence, one thing to do."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        """Keep the three parts; `str()` gives code and message."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint


class ModelError(CxrError):
    """A model folder is missing something or does not match its manifest."""


class PolicyError(CxrError):
    """The clinical policy is incomplete or contradicts itself."""


class DataError(CxrError):
    """Films or labels to learn from cannot be used as they are."""


class RecipeError(CxrError):
    """A training recipe is incomplete, contradicts itself or cannot be followed."""


class StoreError(CxrError):
    """What lies on disk cannot be read, written or added to."""


class Unknown(StoreError):
    """What was asked for by its id is not there."""


class Busy(StoreError):
    """Nothing was taken in; the same call may succeed later."""


class DecoderDied(CxrError):
    """The process that decoded a film did not survive it; the code says how."""

    def __init__(self, code: str) -> None:
        """Keep the code."""
        super().__init__(f"{code}: the film's decoder had to be given up")
        self.code = code


class Invalid(CxrError):
    """What a person typed or chose cannot be recorded; nothing was done."""


class Conflict(CxrError):
    """It cannot be done to the study as it stands; nothing was done."""


class Changed(Conflict):
    """Another person or program changed the study since it was shown."""


class Forbidden(CxrError):
    """The role of the person does not allow the action."""


class SignedOut(CxrError):
    """The sign-in has ended: signed_out, idle, expired or revoked."""

    def __init__(self, why: str) -> None:
        """Keep why; `str()` says it in words."""
        super().__init__(
            {
                "idle": "this sign-in was locked because nothing was done for a while; sign in again",
                "expired": "this sign-in lasted as long as it may; sign in again",
                "revoked": "an administrator ended this sign-in; sign in again",
            }.get(why, "you have signed out, here or elsewhere; sign in again")
        )
        self.why = why


class SettingsError(CxrError):
    """A setting is unknown or its value cannot be used."""
