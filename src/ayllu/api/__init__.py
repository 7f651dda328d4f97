"""What `import ayllu` offers to Python, and what the commands call.

To import this imports neither torch nor numpy: each function does, when it is called.
"""

import os

# Read by torch when it is imported, after this: threads that wait in a loop for each other are several times slower as
# soon as another program wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
