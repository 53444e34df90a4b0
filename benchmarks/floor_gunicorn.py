"""The gunicorn settings of the floor: those of the service, without its hook for new workers."""

from importlib.util import module_from_spec, spec_from_file_location

from benchmarks.storage import ROOT

_spec = spec_from_file_location("service_gunicorn", ROOT / "gunicorn.conf.py")
if _spec is None or _spec.loader is None:
    raise ImportError("gunicorn.conf.py")
_service = module_from_spec(_spec)
_spec.loader.exec_module(_service)
globals().update(
    {name: value for name, value in vars(_service).items() if name[0] != "_" and name != "post_worker_init"}
)
