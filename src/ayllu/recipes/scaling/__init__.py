"""Ladders: sizes of a recipe from small to large, each predicted from those below it before it is trained."""
