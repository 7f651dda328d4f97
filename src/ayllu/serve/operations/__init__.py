"""What those who run the server look at: metrics, traces, logs, readiness; and its certificate."""
