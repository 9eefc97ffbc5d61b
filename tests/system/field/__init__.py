"""What public reports of faults in other servers, frameworks and interpreters tell, tried here.

`docs/decisions/083` lists all of them, with what was found. Each test runs on both backends.
"""
