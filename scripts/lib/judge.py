"""Whether what was measured reaches a bar, and whether a miss is more than noise.

Every round gives one value: a ratio of two runs of that round, a speed or a time. Where the median reaches the bar, the bar holds.
Where it does not, the spread of the very rounds decides, by a sign test: if the true median stood at the bar, a round would be as
likely to reach it as to miss it. A miss is more than noise where so many misses, or more, would then have a chance of at most 5 %.
That is five of five rounds, eight of nine or eleven of fourteen; fewer than five rounds show nothing.

>>> verdict([0.70, 0.66, 0.71, 0.69, 0.70], 0.68)
'holds'
>>> verdict([0.66, 0.66, 0.69, 0.67, 0.66], 0.68)
'unclear'
>>> verdict([0.66, 0.66, 0.67, 0.67, 0.66], 0.68)
'below'
>>> verdict([0.1, 0.1, 0.1, 0.1], 0.68)
'unclear'
>>> verdict([1.8, 2.1, 1.9], 2.0, at_most=True)
'holds'
>>> verdict([2.8, 2.1, 2.9, 2.2, 3.0], 2.0, at_most=True)
'below'
>>> verdict([1.0], None)
'no bar'

Memory is not subject to luck in this way: no run may use more than the limit.

>>> memory_verdict([20, 24], 24), memory_verdict([20, 25], 24)
('holds', 'below')
"""
import math
import statistics

HOLDS, UNCLEAR, BELOW, NO_BAR, NOT_MEASURED = "holds", "unclear", "below", "no bar", "not measured"
# Highest chance that a miss which counts is an accident, and how many rounds it takes to get there.
ACCIDENT, FEWEST_ROUNDS = 0.05, 5


def chance(misses, rounds):
    """How likely so many misses or more are, if each round misses with one half."""
    return sum(math.comb(rounds, count) for count in range(misses, rounds + 1)) / 2 ** rounds


def verdict(values, bar, at_most=False):
    """Of one value per round, which should be at least the bar, or at most."""
    if bar is None:
        return NO_BAR

    def misses(value):
        return value > bar if at_most else value < bar

    if not misses(statistics.median(values)):
        return HOLDS
    return BELOW if chance(sum(map(misses, values)), len(values)) <= ACCIDENT else UNCLEAR


def memory_verdict(values, limit):
    """Of the peak memory of every run."""
    return HOLDS if max(values) <= limit else BELOW
