"""Which Ayllu this is, for whoever writes it down."""

AYLLU_VERSION = "0.1.0"
