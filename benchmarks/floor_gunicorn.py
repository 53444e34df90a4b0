"""gunicorn's settings for the floor: those of the service, without what the service does when a worker starts."""

import runpy

from benchmarks.storage import ROOT

_settings = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
globals().update({name: value for name, value in _settings.items() if name[0] != "_" and not callable(value)})
