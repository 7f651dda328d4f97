"""`ayllu run see`: a language model that takes pictures, and how it compares with descriptions of them."""
