"""Performance: how well a model does, on what films, and what it is not good for."""

from cxr_core.ui.guard import Role, require

user = require(Role.VIEWER)

from cxr_core.ui import performance, shell, theme  # noqa: E402 -- nothing runs before the guard

service = shell.opened(user)
theme.signed_in(user)
performance.show(service, user)
