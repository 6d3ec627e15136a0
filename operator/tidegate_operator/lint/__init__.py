"""What is valid and yet probably not meant, found in a compiled folder. Pure: no I/O, no clock."""
