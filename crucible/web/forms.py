"""Forms: read, and refused unless they carry the token of the session that they were shown to."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import HTTPException, Request

from crucible.web.view import session_of, site_of

_MOST_FIELDS = 20


async def checked_form(request: Request) -> dict[str, str]:
    """Return the fields of a form, the first value of each.

    Raises
    ------
    HTTPException
        400 if it is no form; 403 if its token is not the session's.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(400, "Only a form can be sent here.")
    try:
        text = (await request.body()).decode("utf-8")
        found = parse_qs(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise HTTPException(400, "This form cannot be read.") from None
    fields = {name: values[0] for name, values in found.items()}
    if not site_of(request).access.is_form_token(session_of(request), fields.get("form_token", "")):
        raise HTTPException(403, "This form is from an earlier session; go back, reload the page and send it again.")
    return fields
