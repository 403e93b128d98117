"""The optional export to OpenTelemetry: metrics and traces of requests for text. Imported only where it is asked for."""
