"""The order as a rule, in words."""

from cxr_core.domain import Urgency
from cxr_core.triage.order import PLACES, place, tier_of


def test_critical_is_never_overtaken_and_what_is_overdue_overtakes_every_other():
    places = {(urgency, late): place(tier_of(urgency), late=late) for urgency in Urgency for late in (0, 1)}
    assert {places[Urgency.CRITICAL, 0], places[Urgency.CRITICAL, 1]} == {0}
    lower = [urgency for urgency in Urgency if urgency is not Urgency.CRITICAL]
    assert {places[urgency, 1] for urgency in lower} == {1}
    assert [places[urgency, 0] for urgency in lower] == [2, 2, 3, 4]
    assert max(places.values()) == PLACES - 1
