"""`python -m ayllu.cli`: what torchrun starts in every process."""

from ayllu.cli.main import main

if __name__ == "__main__":
    main()
