"""Models: which one answers, which there are, how each was trained and how well it does."""

from cxr_core.ui.guard import Role, require

user = require(Role.VIEWER)

from cxr_core.ui import models_page, shell, theme  # noqa: E402 -- nothing runs before the guard

service = shell.opened(user)
theme.signed_in(user)
models_page.show(service, user)
