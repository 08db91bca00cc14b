from timeseries.tourism import tourism, world  # noqa: F401
from timeseries.weekly import forecast, forecaster, weekly  # noqa: F401
