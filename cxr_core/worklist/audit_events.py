"""What every word of the audit trail is called in DICOM, so that an archive of audit messages can take it in.

Source: DICOM PS3.15 A.5.3 (which event is which message), PS3.16 CID 400 (EventID) and 401 (EventTypeCode).
A word that is not here cannot be written.
"""

from __future__ import annotations

from typing import NamedTuple

DICOM_NAMES = ("EventID", "EventName", "EventTypeCode", "EventTypeName")
"""What the parts of an `AuditEvent` are called where the trail is written to a file."""


class AuditEvent(NamedTuple):
    """A DICOM audit event; its codes are of the coding scheme DCM.

    Attributes:
        code, name: EventID.
        type, type_name: EventTypeCode; empty where the standard has none for it.
    """

    code: str
    name: str
    type: str = ""
    type_name: str = ""


USED_LOG = AuditEvent("110101", "Audit Log Used")
ACCESSED = AuditEvent("110103", "DICOM Instances Accessed")
EXPORT = AuditEvent("110106", "Export")
IMPORT = AuditEvent("110107", "Import")
PATIENT = AuditEvent("110110", "Patient Record")
PROCEDURE = AuditEvent("110111", "Procedure Record")
_ALERT = ("110113", "Security Alert")
SOFTWARE = AuditEvent(*_ALERT, "110131", "Software Configuration")
ROLES = AuditEvent(*_ALERT, "110136", "Security Roles Changed")
USERS = AuditEvent(*_ALERT, "110137", "User Security Attributes Changed")
_USER = ("110114", "User Authentication")
LOGIN = AuditEvent(*_USER, "110122", "Login")
LOGOUT = AuditEvent(*_USER, "110123", "Logout")

EVENTS: dict[str, AuditEvent] = {
    # films in, answers
    "submit": IMPORT,
    "conflict": PROCEDURE,
    "result": PROCEDURE,
    "dead_letter": PROCEDURE,
    # what people do with a study
    "view": ACCESSED,
    "complete": PATIENT,
    "correct": PROCEDURE,
    "claim": PROCEDURE,
    "release": PROCEDURE,
    "acknowledge": PROCEDURE,
    "read": PROCEDURE,
    "agree": PROCEDURE,
    "disagree": PROCEDURE,
    "override": PROCEDURE,
    "note": PROCEDURE,
    "undo": PROCEDURE,
    "explain": PROCEDURE,
    "reanalyse": PROCEDURE,
    "retry": PROCEDURE,
    # what leaves, what comes back
    "export": EXPORT,
    "deidentify": EXPORT,
    "backup": EXPORT,
    "restore": IMPORT,
    "audit_verify": USED_LOG,
    "audit_export": USED_LOG,
    # who signs in, and in which role
    "sign_in": LOGIN,
    "sign_out": LOGOUT,
    "lock": LOGOUT,
    "account": USERS,
    "role": ROLES,
    # the policy
    "policy_write": SOFTWARE,
    "policy_activate": SOFTWARE,
    # the model
    "model_activate": SOFTWARE,
    "model_fit": SOFTWARE,
    "model_export": EXPORT,
}
"""Word → its event."""
