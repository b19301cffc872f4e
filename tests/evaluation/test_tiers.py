"""Films for the simulator: the tier that the model gives and the one they truly have."""

from types import SimpleNamespace

import numpy as np

from cxr_core.domain import FINDINGS, Urgency
from cxr_core.evaluation.tiers import films_of
from tests.triage.builders import LABELS, POLICY


def test_a_film_truly_is_as_urgent_as_its_most_urgent_finding():
    cases = [
        ((), Urgency.ROUTINE),
        (("abnormal",), Urgency.REVIEW),
        (("Hernia", "abnormal"), Urgency.ROUTINE),
        (("Mass", "Effusion", "abnormal"), Urgency.URGENT),
        (("Infiltration",), Urgency.SIGNIFICANT),
        (("Infiltration", "Pneumonia"), Urgency.URGENT),
        (("Pneumothorax", "Nodule"), Urgency.CRITICAL),
    ]
    truth = np.array([[float(label in present) for label in LABELS] for present, _ in cases])
    truth[0, LABELS.index("Pneumothorax")] = np.nan
    probabilities = np.zeros((len(cases), len(LABELS)))
    probabilities[2, LABELS.index("Pneumothorax")] = 0.9
    scored = SimpleNamespace(
        labels=(*FINDINGS, "abnormal"),
        probabilities=probabilities,
        members=probabilities[:, None],
        rules=SimpleNamespace(thresholds=(0.5,) * len(LABELS)),
        truth=truth,
        patients=np.arange(len(cases)),
    )
    films = films_of(scored, POLICY)
    assert films.true.tolist() == [urgency.rank for _, urgency in cases]
    expected = [Urgency.ROUTINE.rank] * len(cases)
    expected[2] = Urgency.CRITICAL.rank
    assert films.said.tolist() == expected
