"""The findings as the report shows them: a table of all, and a list in the section of each experiment."""

from collections.abc import Sequence
from html import escape

from pv_sparse.study.findings_published import Published
from pv_sparse.study.findings_record import Finding
from pv_sparse.study.report_html import element, section, table, unbroken, wrap

NOT_CHECKED = "recalled, unchecked"
VERDICTS = ("agrees", "does not agree", "cannot tell", "nothing published")


def findings_section(findings: Sequence[Finding]) -> str:
    """A table of all: ours, the published, and whether they agree."""
    said = [finding.verdict for finding in findings]
    counts = "; ".join(f"{verdict}: {said.count(verdict)}" for verdict in VERDICTS)
    rows = [
        [
            element("span", finding.title, id=f"finding-{number}"),
            unbroken(finding.ours),
            _published(finding.published),
            _verdict(finding),
        ]
        for number, finding in enumerate(findings)
    ]
    if not rows:
        return section("findings", "Findings", element("p", "These rows do not suffice for any."))
    heads = ("Finding", "Ours", "Published", "Ours against it")
    count = element("p", f"{len(findings)} findings. Ours against the published: {counts}.")
    return section("findings", "Findings", count + table("Findings", heads, rows, "findings"))


def findings_list(findings: Sequence[tuple[int, Finding]]) -> str:
    """What an experiment found, with the way to the figures."""
    items = [
        wrap("li", element("a", finding.title, href=f"#finding-{number}") + " " + _verdict(finding))
        for number, finding in findings
    ]
    return wrap("ul", "".join(items), class_="found") if items else ""


def _verdict(finding: Finding) -> str:
    return element("span", finding.verdict, class_="verdict", data_verdict=finding.verdict.replace(" ", "-"))


def _published(figures: Sequence[Published]) -> str:
    """Each with its source, and with a mark where it was not read there."""
    if not figures:
        return element("span", "nothing that corresponds", class_="faint")
    said = []
    for figure in figures:
        source = figure.source if figure.checked else f"{figure.source}; {NOT_CHECKED}"
        said.append(wrap("li", f"{escape(figure.text)} {element('cite', f'[{source}]')}"))
    return wrap("ul", "".join(said))
