"""From one language to another: networks that come in packages, and a program of rules between close languages."""
