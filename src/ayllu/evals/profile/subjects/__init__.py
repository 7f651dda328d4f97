"""Who is measured: our weights, a model behind a URL, simple programs, and people."""
