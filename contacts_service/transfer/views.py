"""Operations that import and export many contacts."""

from typing import Any

from flask import Response, current_app, g, request

from contacts_service.db.caller import require_account
from contacts_service.errors import UnsupportedMediaType
from contacts_service.transfer import use_cases
from contacts_service.transfer.batch import Errors, Row
from contacts_service.transfer.reading import CsvFile, NdjsonFile
from contacts_service.transfer.writing import RejectedRows, as_csv, as_ndjson
from contacts_service.web.blueprint import Blueprint, require_accepted
from contacts_service.web.envelope import success
from contacts_service.web.observability import ServiceResponse
from contacts_service.web.streaming import BodyStream, stream_slot, streamed
from schemas.contact_transfer import MAX_REJECTED, ExportQuery, ImportQuery, ImportResult

blueprint = Blueprint("transfer", __name__, url_prefix="/api/contacts", description="Many contacts at once.")

_CSV, _NDJSON = "text/csv", "application/x-ndjson"
_ROWS = {
    _CSV: 'phone_number,name,tags,metadata.plan\r\n+1234567890,John Doe,"vip,new",gold\r\n',
    _NDJSON: '{"phone_number": "+1234567890", "name": "John Doe", "metadata": {"plan": "gold"}}\n',
}
_TEXT = {"type": "string"}
_BODY = {
    "required": True,
    "content": {name: {"schema": _TEXT, "example": example} for name, example in _ROWS.items()},
}


@blueprint.route("/import", methods=["POST"], is_streamed=True, produces=("application/json", _CSV))
@blueprint.query(ImportQuery)
@blueprint.doc(requestBody=_BODY)
@blueprint.answers(200, ImportResult)
@blueprint.alt_response(200, schema=_TEXT, description="The rejected rows", content_type=_CSV, success=True)
@blueprint.fails("payload_too_large", "unsupported_media_type", "too_many_streams", "unavailable")
def import_contacts(query: dict[str, Any]) -> Response:
    """Import contacts

    Reads CSV or one JSON object a line as it comes, with the fields of a contact. A row is found by its `bsuid`,
    `parent_bsuid`, `external_id` or `phone_number` as by `/resolve`; identifiers of two contacts are an error of the
    row, as is another `external_id` than the contact has. Each row stands alone: a bad one stops no other. Rows are
    committed in batches; after any interruption send the same file again, with the same end. So it needs no
    `Idempotency-Key`, and ignores one.

    An empty cell or null changes nothing. Tags are added, metadata is set key by key, and `marketing_opt_out` is never
    taken back. What only the service writes, such as `id`, is ignored.

    CSV has a header; commas, semicolons and tabs separate, and UTF-8 and UTF-16 are understood. `tags` are joined by
    commas, `metadata` is a JSON object, `metadata.KEY` text.

    With `Accept: text/csv` the answer is the rejected rows as they came, with a last column `error`: mend them and send
    that file. Rejected JSON comes back as CSV with the columns `line` and `error`, and of a row of more than 1,048,576
    characters only the first 100. With `dry_run=true` nothing is written, and the counts are those of an import at this
    moment.
    """
    caller = g.caller
    if "account_id" in query:
        require_account(caller.allowed_accounts, query["account_id"])
    if request.mimetype not in _ROWS or request.content_encoding:
        raise UnsupportedMediaType(message=f"Send the body as {_CSV} or {_NDJSON}, and not compressed.")
    with stream_slot():
        body = BodyStream(request, current_app.config["IMPORT_LIMIT"])
        file = CsvFile(body) if request.mimetype == _CSV else NdjsonFile(body)
        wants_csv = request.accept_mimetypes.best_match(["application/json", _CSV]) == _CSV
        rejected = RejectedRows(file) if wants_csv else None
        first: list[dict[str, Any]] = []

        def reject(row: Row, errors: Errors) -> None:
            if rejected:
                rejected.add(row, errors)
            elif len(first) < MAX_REJECTED:
                first.append({"row": row.number, "errors": errors})

        counts = use_cases.import_contacts(file, reject, allowed_accounts=caller.allowed_accounts, **query)
    if not rejected:
        return success({**counts, "rejected": first})
    rejected.file.seek(0)
    return ServiceResponse(rejected.file, content_type=f"{_CSV}; charset=utf-8")


@blueprint.route("/export", methods=["GET"], produces=(_CSV, _NDJSON))
@blueprint.query(ExportQuery)
@blueprint.alt_response(200, schema=_TEXT, description="All matches", content_type=_CSV, success=True)
@blueprint.alt_response(200, schema=_TEXT, description="All matches", content_type=_NDJSON, success=True)
@blueprint.fails("too_many_streams", "unavailable")
def export_contacts(query: dict[str, Any]) -> Response:
    """Export contacts

    Streams all matches with their metadata in the order in which they were created. CSV has a contact's fields as
    columns, `tags` joined by commas and `metadata` as JSON; a cell that a spreadsheet would take for a formula has `'`
    in front, which import takes off again. What was exported can be imported. Without `format`, `Accept` chooses.

    If the answer breaks off, the connection ends without the last chunk: then the file isn't whole.
    """
    if file_format := query.pop("format", None):
        require_accepted(request, (_CSV if file_format == "csv" else _NDJSON,))
    else:
        file_format = "csv" if request.accept_mimetypes.best_match([_CSV, _NDJSON], _CSV) == _CSV else "ndjson"
    is_csv = file_format == "csv"
    _, pages = use_cases.export_contacts(g.caller.allowed_accounts, **query)
    response = streamed(as_csv(pages) if is_csv else as_ndjson(pages), f"{_CSV if is_csv else _NDJSON}; charset=utf-8")
    response.headers["Content-Disposition"] = f"attachment; filename=contacts.{file_format}"
    return response
