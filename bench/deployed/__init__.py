"""What a deployed system does when a machine is lost, beside keepalived on the same machines and network."""
