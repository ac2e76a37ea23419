"""Headers that are encoded once belong to each answer alone."""

from registry.stored_response import StoredResponse


def test_headers_leave_as_they_were_said() -> None:
    made = StoredResponse(b"{}", headers={"Content-Type": "a/b", "ETag": '"x"'})
    assert made.raw_headers == [(b"content-type", b"a/b"), (b"etag", b'"x"')]
    assert StoredResponse(status_code=304).raw_headers == []


def test_what_is_added_to_one_answer_is_not_in_the_next() -> None:
    said = {"ETag": '"x"'}
    StoredResponse(headers=said).raw_headers.append((b"x-request-id", b"1"))
    assert StoredResponse(headers=said).raw_headers == [(b"etag", b'"x"')]
