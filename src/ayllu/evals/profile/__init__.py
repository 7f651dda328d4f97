"""How general a model is: ten rows after Cattell, Horn and Carroll, each with its difficulty solved half the time."""
