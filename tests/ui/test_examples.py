from datetime import UTC, datetime

import pytest

from cxr_core import settings
from cxr_core.domain import State
from cxr_core.imaging.phantom import make_phantom
from cxr_core.pipeline import analyse, load_kit
from cxr_core.ui.examples import EXAMPLES, file_of


@pytest.mark.parametrize(
    ("number", "state"),
    list(enumerate([State.FLAGGED, State.NO_DISEASE_DETECTED, State.REFUSED])),
    ids=[example.file for example in EXAMPLES],
)
def test_each_example_shows_its_own_state_of_the_card(number: int, state: State) -> None:
    """A new bundled model may call them otherwise: then other seeds are needed for the demonstration."""
    table = settings.Settings()
    if not (table.models_dir / table.model / "manifest.toml").is_file():
        pytest.skip("the bundled model has not been made yet")
    _, raw = file_of(number)
    assert analyse(raw, load_kit(table), now=datetime.now(UTC)).triage.state is state


def test_the_example_without_findings_has_none_drawn() -> None:
    example = EXAMPLES[1]
    assert make_phantom(example.seed, dict(example.findings), size=128).findings == {}
