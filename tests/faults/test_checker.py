# SPDX-License-Identifier: Apache-2.0
"""The checker finds in made-up histories exactly what was put there."""

import pytest

from harness.history import Allowed, Final, History, Verdict, read_ledger


def ledger(*lines):
    return read_ledger(line + "\n" for line in lines)


def history(n=3):
    """Nothing went wrong."""
    h = History()
    lines = []
    for i in range(n):
        id = "t%d" % i
        h.sent.add(id)
        h.add_final(id, Final(id + "/1/2"))
        lines += ["%s 1 %d start %d" % (id, 100 + i, 10 * i), "%s 1 %d end %d" % (id, 100 + i, 10 * i + 5)]
    h.runs = ledger(*lines)
    return h


def counts(h, allowed=None):
    """Those that are not as in a history without fault."""
    verdict = Verdict(h, allowed)
    names = ("sent", "finals", "lost", "duplicated", "overlapping", "reruns", "orphans", "leaked")
    return {name: n for name, n, usual in zip(names, verdict.counts(), (3, 3, 0, 0, 0, 0, 0, 0))
            if n != usual}


def problems(h, **allowed):
    return Verdict(h, Allowed(**allowed)).problems()


def test_nothing_wrong():
    verdict = Verdict(history())
    assert verdict.line() == ("sent 3, finals 3, lost 0, duplicated finals 0, overlapping runs 0, "
                              "reruns 0, orphans 0, leaked 0")
    assert verdict.problems() == []


def test_lost():
    h = history()
    del h.finals["t1"]
    assert counts(h) == {"finals": 2, "lost": 1}
    assert problems(h) == ["lost: t1"]


def test_duplicated_final():
    h = history()
    h.add_final("t1", Final("t1/other/2"))
    assert counts(h) == {"duplicated": 1}
    assert problems(h) == ["duplicated finals, 0 allowed: t1"]
    assert problems(h, duplicates=1) == []


def test_response_that_came_twice_is_no_duplicate():
    h = history()
    h.add_final("t1", Final("t1/1/2"))
    assert counts(h) == {} and problems(h) == []


def test_overlap_of_times():
    h = history()
    h.runs.update(ledger("t1 1 7 start 100", "t1 2 8 start 150", "t1 1 7 end 160", "t1 2 8 end 200"))
    assert counts(h) == {"overlapping": 1, "reruns": 1}
    assert problems(h, reruns=1) == ["overlapping runs: t1"]


def test_overlap_with_one_that_was_killed():
    """It has no end; the lock tells."""
    h = history()
    h.runs.update(ledger("t1 1 7 start 100", "t1 2 8 overlap 150", "t1 2 8 end 200"))
    assert counts(h) == {"overlapping": 1, "reruns": 1}


def test_one_inside_the_other():
    h = history()
    h.runs.update(ledger("t1 1 7 start 100", "t1 2 8 start 150", "t1 2 8 end 160", "t1 1 7 end 200"))
    assert counts(h) == {"overlapping": 1, "reruns": 1}


@pytest.mark.parametrize("first_end", [["t1 1 7 end 140"], []], ids=["ended", "killed"])
def test_rerun_is_no_overlap(first_end):
    h = history()
    h.runs.update(ledger("t1 1 7 start 100", *first_end, "t1 2 8 start 150", "t1 2 8 end 200"))
    assert counts(h) == {"reruns": 1}
    assert problems(h) == ["reruns, 0 allowed: t1 (1)"]
    assert problems(h, reruns=1) == []


def test_pid_that_is_used_again():
    runs = ledger("t1 1 7 start 100", "t1 2 7 start 150", "t1 2 7 end 200")["t1"]
    assert [(r.start, r.end) for r in runs] == [(100, None), (150, 200)]


def test_end_without_start():
    with pytest.raises(AssertionError):
        ledger("t1 1 7 end 100")


def test_orphans_and_leaks():
    h = history()
    h.orphans.add("4711 (probe)")
    h.leaked |= {"queue q holds 1 ready", "/run/x/fifo"}
    assert counts(h) == {"orphans": 1, "leaked": 2}
    assert len(problems(h)) == 2


def test_in_doubt():
    """May be answered or not, but not twice, and not run at once."""
    h = history()
    h.in_doubt = {"d1", "d2"}
    h.add_final("d1", Final("d1/1/2"))
    h.runs.update(ledger("d1 1 7 start 1", "d1 1 7 end 2"))
    verdict = Verdict(h)
    assert verdict.problems() == [] and len(verdict.recovered) == 1
    assert counts(h) == {"finals": 4}
    h.add_final("d1", Final("d1/other/2"))
    assert counts(h) == {"finals": 4, "duplicated": 1}


def test_never_sent():
    h = history()
    h.sent.remove("t1")
    assert problems(h) == ["answered, but never sent: t1", "run, but never sent: t1"]


def test_success_out_of_nothing():
    h = history()
    h.runs["t1"][0].end = None
    assert problems(h) == ["SUCCESS without a run that ended: t1"]


def test_false_failures():
    h = history()
    h.finals["t1"] = {"t1/1/2": Final("t1/1/2", "FAILED", "exec-failed")}
    h.finals["t2"] = {"t2/1/2": Final("t2/1/2", "CANCELLED", "cancelled")}
    assert problems(h) == ["false failures: t1 (exec-failed), t2 (cancelled)"]
    h.cancelled.add("t2")
    assert problems(h, causes=("exec-failed",)) == []
    assert problems(h) == ["false failures: t1 (exec-failed)"]


def test_whatever_else():
    h = history()
    h.problems.append("the runner died")
    assert problems(h) == ["the runner died"]


def test_all_are_named_when_few_and_counted_when_many():
    h = history(20)
    h.finals.clear()
    assert problems(h) == ["lost: t0, t1, t10, t11, t12 and 15 more"]
