"""What calls cost: prices found per backend and model, costs worked out from usage. Pure; money is micro-dollars."""
