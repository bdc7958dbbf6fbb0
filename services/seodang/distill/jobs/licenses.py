"""Which licences let weights be trained on data."""

from collections.abc import Collection
from typing import Any, Final

from license_expression import ExpressionError, get_spdx_licensing

from seodang.base.errors import InvalidInput

PERMISSIVE: Final = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "CC-PDDC",
        "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "ODC-By-1.0", "PDDL-1.0", "PSF-2.0",
        "Python-2.0", "Unlicense",
    }
)  # fmt: skip
"""SPDX identifiers that ask for attribution at most. Share-alike, non-commercial and no-derivatives ones do not."""


def check_license(expression: str, more: Collection[str], field: str) -> None:
    """Refuses data that must not be trained on.

    Args:
        expression: SPDX; of ``A OR B`` one must be allowed, of ``A AND B`` both.
        more: identifiers that the operator allows beside the permissive ones, such as ``LicenseRef-Own``.
        field: path of the field that is checked.

    Raises:
        InvalidInput: it is no SPDX expression, or does not allow training.
    """
    licensing = get_spdx_licensing()
    try:
        parsed = licensing.parse(expression, simple=True)
    except ExpressionError as error:
        raise InvalidInput(f"{field}={expression!r} is no SPDX expression: {error}", field=field) from error
    if parsed is None:
        raise InvalidInput(f"{field} is empty: say under which licence the data is, such as CC-BY-4.0", field=field)
    if not _allows(parsed, licensing, PERMISSIVE | set(more)):
        raise InvalidInput(
            f"{field}={expression!r} does not allow training here. Allowed are {', '.join(sorted(PERMISSIVE))}, and "
            "what SEODANG_DISTILL_ALLOWED_LICENSES names",
            field=field,
            reason="LICENSE_FORBIDS_TRAINING",
        )


def _allows(parsed: Any, licensing: Any, allowed: Collection[str]) -> bool:
    if isinstance(parsed, licensing.OR):
        return any(_allows(part, licensing, allowed) for part in parsed.args)
    if isinstance(parsed, licensing.AND):
        return all(_allows(part, licensing, allowed) for part in parsed.args)
    # An exception only ever adds permissions to its licence.
    return getattr(parsed, "license_symbol", parsed).key in allowed
