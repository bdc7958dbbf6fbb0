"""What every process shares: the error tree, settings from the environment, how a process begins and ends."""
