"""Eyes: from a picture to statements that each say what they rest on, and to answers that say nothing else."""
