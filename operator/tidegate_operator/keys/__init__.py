"""The keys that the operator itself makes: `plan` says what is due, `issuer` writes it into Secrets."""
