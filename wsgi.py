"""What a WSGI server and the ``flask`` command load."""

from contacts_service.app import create_app

app = create_app()
