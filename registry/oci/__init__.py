"""`/v2/`: the OCI distribution API.

Reading list: OCI distribution-spec (endpoints end-1 to end-14, "Pull", "Push", "Content Discovery",
"Content Management", "Error Codes"); distribution's docs/content/spec/auth for the challenge.
"""
