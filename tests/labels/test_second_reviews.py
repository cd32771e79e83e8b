from __future__ import annotations

from collections import Counter

from selective_autonomy.labels.second_reviews import second_reviews

CREW = [f"op-{w}" for w in range(6)]
STEPS = [(f"s{i}", j, CREW[i % 6]) for i in range(300) for j in range(10)]


def test_two_colleagues_are_asked_never_the_operator_and_each_equally_often() -> None:
    owner = {(session_id, index): who for session_id, index, who in STEPS}
    drawn = second_reviews(STEPS, CREW, key=b"a key of 16 bytes", rate=0.2)
    assert 480 < len(drawn) < 720
    for one in drawn:
        assert len(set(one.operators)) == 2
        assert owner[one.session_id, one.index] not in one.operators
    asked = Counter(who for one in drawn for who in one.operators)
    assert max(asked.values()) < 1.3 * min(asked.values())


def test_the_sample_depends_on_key_and_step_alone() -> None:
    drawn = second_reviews(STEPS, CREW, key=b"a key of 16 bytes", rate=0.2)
    assert drawn == second_reviews(STEPS[::-1], CREW[::-1], key=b"a key of 16 bytes", rate=0.2)[::-1]
    assert drawn != second_reviews(STEPS, CREW, key=b"another of 16 bytes", rate=0.2)


def test_a_crew_of_one_has_no_colleagues() -> None:
    assert second_reviews([("s", 0, "op-0")], ["op-0"], key=b"a key of 16 bytes", rate=1.0)[0].operators == ()
