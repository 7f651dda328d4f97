"""Sound as numbers: rates, encodings and spectra. Samples are counted, never frames."""
