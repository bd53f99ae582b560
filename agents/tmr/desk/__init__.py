"""What clients and operators ask of a licence server, whatever decides and stores behind it."""
