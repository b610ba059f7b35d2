"""THE TABLE of problems, by code: what each means and what to do.

docs/problems.md and the page that `type` of a problem leads to are made of it. Its rows:
`api/http/problems_of_requests.py`, `api/http/problems_of_doors.py`, and those of the saga, `domain/refusals.py`.
"""

from __future__ import annotations

from api.http.problem_types import ProblemType
from api.http.problems_of_doors import OF_DOORS
from api.http.problems_of_requests import OF_REQUESTS
from domain.refusals import REFUSALS

# Doors say some refusals of what was asked for, where the saga says them of what was paid.
_ALSO = {
    "UNKNOWN_ITEM": (422,),
    "COURSE_UNAVAILABLE": (422,),
    "METADATA_INCOMPLETE": (422,),
}

_ROWS = sorted((*OF_REQUESTS, *OF_DOORS), key=lambda row: row.statuses[0])
PROBLEM_TYPES: dict[str, ProblemType] = {row.code: row for row in _ROWS} | {
    row.code: ProblemType(
        row.code, (row.status, *_ALSO.get(row.code, ())), row.operator, row.next_action, None if row.heals else False
    )
    for row in REFUSALS.values()
}
