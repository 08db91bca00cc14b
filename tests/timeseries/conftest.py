from timeseries.weekly import forecast, forecaster, weekly  # noqa: F401
