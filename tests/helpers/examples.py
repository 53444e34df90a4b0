"""Identifiers that many tests use; the text of an id has no meaning."""

ACCOUNT = "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a10"
OTHER_ACCOUNT = "7f1f2c1e-52c4-4b0c-9a53-7c3c0c6b6a11"
USER = "2b7d9a52-2f0c-4d55-8a6f-0c7c4e3f1d11"
OTHER_USER = "2b7d9a52-2f0c-4d55-8a6f-0c7c4e3f1d12"
UNKNOWN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
FLOW_ID = "5d1a3c77-9f0e-4a6b-8a55-0e1f4f6a2b90"
