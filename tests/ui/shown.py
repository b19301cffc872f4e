"""What a page shows, and its buttons pressed by their labels."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in app.text)


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception
    return app
