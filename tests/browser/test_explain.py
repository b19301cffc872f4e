"""A finding explained another way in real Chromium: asked for, made by the server's own worker, shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from cxr_core.worklist.service import Service
from tests.browser import app
from tests.browser.app import Server
from tests.browser.conftest import Watched
from tests.browser.test_study import go, hand_in
from tests.browser.test_worklist import SLOW_MS, visit

pytestmark = pytest.mark.browser


@pytest.fixture
def watched(browser: Browser, server: Server) -> Iterator[Watched]:
    page = visit(browser, server)
    watch = Watched(page, server.address)
    yield watch
    page.context.close()
    assert watch.outside == []
    assert watch.errors == []


def test_occlusion_is_asked_for_and_appears_beside_grad_cam(
    watched: Watched, server: Server, service: Service
) -> None:
    page = watched.page
    go(page, server, hand_in(service, 1, patient_id="P-1"))
    page.get_by_text("Explain", exact=True).click()
    page.get_by_text("Occlusion", exact=True).click(timeout=SLOW_MS)
    expect(page.locator(".empty")).to_contain_text("when a grey square hides this place", timeout=SLOW_MS)
    app.ready(page)
    page.locator(".st-key-explain-go").get_by_role("button", name="Explain").click()
    expect(page.locator(".assessing")).to_contain_text("asked by local user", timeout=SLOW_MS)
    expect(page.locator("canvas[data-ready=yes]")).to_have_count(2, timeout=120_000)
    expect(page.locator(".beside").nth(1)).to_contain_text("films shown to the network · asked by local user")
    expect(page.locator(".st-key-explain-go")).to_have_count(0)
    page.reload()
    expect(page.locator("canvas[data-ready=yes]").first).to_be_visible(timeout=SLOW_MS)
