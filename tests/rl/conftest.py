from rl.halfhourly import dispatched, dispatcher, halfhourly  # noqa: F401
