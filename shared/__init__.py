"""What all blueprints say in the same words: parameters, objectives, tracking, serving, packaging.

Functions only: nothing here is inherited from, and nothing here calls back into a blueprint.
"""

import os
import sys

__version__ = "0.1.0"

# Nothing phones home: these libraries read their switch from the environment when they are
# imported, so the switches stand here, before any module of `shared` imports one of them.
for _switch, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",  # honoured by MLflow and BentoML
    "BENTOML_DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # One attempt and two retries: a tracking server that is down costs seconds, not minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
}.items():
    os.environ.setdefault(_switch, _value)

# `bentoml serve` asks for its switch, and remembers the answer, before it imports the service.
if _usage := sys.modules.get("bentoml._internal.utils.analytics.usage_stats"):
    _usage.do_not_track.cache_clear()
