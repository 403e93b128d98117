"""The optional export to OpenTelemetry: metrics and traces of requests to models. Imported only where it is asked for."""
