"""Operations: whether all of it works, and who did what."""

from cxr_core.ui.guard import Role, require

user = require(Role.LEAD)

from cxr_core.ui import operations, shell, theme  # noqa: E402 -- nothing runs before the guard

service = shell.opened(user)
theme.signed_in(user)
operations.show(service, user)
