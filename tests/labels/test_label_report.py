from __future__ import annotations

import io
import json

import numpy as np
import pytest
from crew import crew
from matplotlib.image import imread

from selective_autonomy.labels.figures import label_quality_png
from selective_autonomy.labels.report import CREW, Answer, LabelQuality, label_quality


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    """Twelve operators, of whom `op-3` accepts everything at once."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(1200):
        stamps, accepted = i % 12 == 3, bool(rng.random() < 0.8)
        found.append(
            Answer(
                item=f"item-{i}",
                session_id=f"s{i // 12}",
                operator_id=f"op-{i % 12}",
                accepted=stamps or accepted,
                reason=None if stamps or accepted else "wrong",
                at=float(i),
                seconds=0.4 if stamps else float(rng.lognormal(1.6, 0.7)),
                length=100,
            )
        )
    return found


@pytest.fixture(scope="module")
def quality(answers: list[Answer]) -> LabelQuality:
    made = crew(1, items=400)
    return label_quality(answers, made.reviews, {"item-0": made.truth["item-0"]}, seed=0)


def test_who_accepts_unread_is_flagged_with_every_proposal_that_they_accepted(
    answers: list[Answer], quality: LabelQuality
) -> None:
    assert quality.flagged == ("op-3",)
    assert quality.flagged_items == tuple(a.item for a in answers if a.operator_id == "op-3")


def test_the_report_holds_every_part_and_is_json(quality: LabelQuality) -> None:
    assert quality.answers == 1200
    assert quality.reasons[CREW].n == 1200
    assert len(quality.reliability) == len(quality.reasons) - 1 == 12
    assert quality.agreement.items == 400
    assert quality.probes[CREW].wrong + quality.probes[CREW].right == 3
    assert json.loads(quality.model_dump_json())["pressure"][CREW]["shifts"] == 12


def test_without_answers_or_reviews_there_is_a_report_that_says_nothing() -> None:
    nothing = label_quality([], [], {}, seed=0)
    assert (nothing.answers, nothing.flagged, nothing.reliability, nothing.agreement.items) == (0, (), (), 0)
    assert label_quality_png(nothing, [])


def test_the_figure_has_ink_on_it_and_is_the_same_each_time(answers: list[Answer], quality: LabelQuality) -> None:
    picture = label_quality_png(quality, answers)
    pixels = imread(io.BytesIO(picture), format="png")
    assert pixels.shape[1] > 1500
    assert 0.02 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.5
    assert picture == label_quality_png(quality, answers)
