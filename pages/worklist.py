"""Worklist: every study that waits, the most pressing first."""

from cxr_core.ui.guard import Role, require

user = require(Role.VIEWER)

from cxr_core.ui import shell, theme, worklist_page  # noqa: E402 -- nothing runs before the guard

service = shell.opened(user)
theme.signed_in(user)
worklist_page.live(service, user)
