"""What `make fuzz` adds to schemathesis: lines of JSON are sent as text, as the document describes them."""

import schemathesis

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
