"""What a WSGI server and the ``flask`` command load."""

import sys

from contacts_service.app import create_app
from contacts_service.settings import InvalidSetting

try:
    app = create_app()
except InvalidSetting as error:
    sys.exit(f"contacts-service: {error}")
