"""The fidelity report of a student: how near it is to its teacher, what it can do and what it took. A page and a JSON.

Both hold the same facts; the page is rendered from the JSON's record alone. It is one file that loads nothing.
"""

from seodang.provenance.fidelity.facts import Curve, CurveDot, FidelityReport, fidelity_report, read_report
from seodang.provenance.fidelity.page import render_page, write_report

__all__ = ["Curve", "CurveDot", "FidelityReport", "fidelity_report", "read_report", "render_page", "write_report"]
