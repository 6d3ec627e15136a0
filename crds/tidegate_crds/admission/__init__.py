"""ValidatingAdmissionPolicies: what the API server itself can say of one object, also while no operator runs.

What the compiler refuses by looking at one object, as far as CEL can tell it, in the compiler's words. No policy may
refuse what the compiler accepts; what CEL cannot judge passes here, and the compiler has the last word.
"""
