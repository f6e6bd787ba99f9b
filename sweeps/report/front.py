"""The part of the page about several metrics at once: the configurations that no other one beats."""

from collections.abc import Mapping

from sweeps.report.markup import escape, section, table
from sweeps.report.panels import Part, Study
from sweeps.report.wording import count, figures, is_share, listing, point, scored_at

MOST_ROWS = 40


def front(study: Study, objectives: Mapping[str, str]) -> Part:
    """The Pareto front as a table.

    Args:
        study: what the page is made of.
        objectives: metrics, each with `max` or `min`.

    Raises:
        StudyError: a metric or a direction is unknown, or there is only one.
    """
    compared = study.results.pareto(objectives)
    best = [each for each in compared if each.front]
    words = {"max": "high", "min": "low"}
    goals = listing(f"{words[mode]} {metric}" for metric, mode in objectives.items())
    said = (
        f"{len(best):,} of {count(len(compared), 'configuration')} are beaten by no other in {goals}, a "
        f"member {scored_at(study.results.manifest)}. One is beaten if another has means that are nowhere "
        f"worse over the seeds that both have, and the 95 % interval of the paired differences says so in at "
        f"least one metric; what the seeds cannot tell apart is all listed. "
    )
    if lost := sum(each.lost > 0 for each in compared):
        said += (
            f"{count(lost, 'configuration')} with a member that has no finite value cannot be among them. "
        )
    if len(best) > MOST_ROWS:
        said += f"The first {MOST_ROWS} are shown. "
    shares = {metric: is_share(metric, study.finals[metric]) for metric in objectives}
    rows = [
        (
            point(each.config),
            *(figures(*each.intervals[metric], percent=shares[metric]) for metric in objectives),
        )
        for each in best[:MOST_ROWS]
    ]
    body = f"<p>{escape(said.strip())}</p>"
    body += table(("configuration", *objectives), rows, "The Pareto front")
    heading = f"The best in {listing(objectives)} together"
    return Part("pareto", heading, section("pareto", heading, body), {})
